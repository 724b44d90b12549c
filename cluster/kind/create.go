package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// storageManifest is what nodes have in place of kind's own storage: kind
// applies the file, and storage is a component of the stack.
const storageManifest = `apiVersion: v1
kind: ConfigMap
metadata: {name: kfdev-node, namespace: kube-public}
data: {storage: a component of the stack}
`

// writeFiles writes what the nodes mount.
func (p *Provider) writeFiles(mirror cluster.Mirror) error {
	if err := mirror.Write(p.certsDir(), images.SourceHost); err != nil {
		return err
	}
	if old, err := os.ReadFile(p.storageFile()); err == nil && bytes.Equal(old, []byte(storageManifest)) {
		return nil
	}
	return atomicfile.Write(p.storageFile(), []byte(storageManifest), 0o644)
}

// create makes the cluster, and leaves nothing behind when it fails.
func (p *Provider) create(ctx context.Context, spec cluster.Spec) (_ cluster.State, err error) {
	task := progress.Start(p.sink, "cluster/create", "making "+cluster.ContextName(spec.Name), 0, progress.None)
	defer func() { task.End(err) }()
	server, err := p.docker.Server(ctx)
	if err != nil {
		return cluster.State{}, err
	}
	if spec.APIPort == 0 {
		at, err := freePort(ctx, spec.Name)
		if err != nil {
			return cluster.State{}, err
		}
		spec.APIPort = int(at.Port())
	}
	if err := portsFree(ctx, spec.Ports); err != nil {
		return cluster.State{}, err
	}
	config := p.config(spec, server)
	dir, err := os.MkdirTemp("", "kfdev-kind-")
	if err != nil {
		return cluster.State{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log := newLogger(p.sink)
	err = p.uncancelable(ctx, spec.Name, func() error {
		return p.kindProvider(log).Create(cluster.ContextName(spec.Name),
			kindcluster.CreateWithV1Alpha4Config(config),
			kindcluster.CreateWithRetain(true), // the nodes are asked for their last words first
			kindcluster.CreateWithKubeconfigPath(filepath.Join(dir, "config")),
			kindcluster.CreateWithDisplayUsage(false),
			kindcluster.CreateWithDisplaySalutation(false),
		)
	})
	log.end(err)
	if err != nil {
		return cluster.State{}, err
	}
	if err := p.complete(ctx, spec); err != nil {
		return cluster.State{}, p.sweep(ctx, spec.Name, err)
	}
	return p.Get(ctx, spec.Name)
}

// complete waits until the new cluster is ready, and marks it as whole.
func (p *Provider) complete(ctx context.Context, spec cluster.Spec) error {
	containers, err := p.nodes(ctx, spec.Name)
	if err != nil {
		return err
	}
	if len(containers) == 0 {
		return fmt.Errorf("kind made %s without a node", cluster.ContextName(spec.Name))
	}
	control := containers[0]
	admin, err := p.docker.ReadFile(ctx, control.ID, adminConfig)
	if err != nil {
		return err
	}
	config, err := kubeconfig(admin, control, spec.Name, "https://"+control.Ports[apiPort].String())
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	if err := waitReady(waiting, config, since(containers)); err != nil {
		return p.lastWords(ctx, spec.Name, err)
	}
	m := mark{Owner: spec.Owner, Image: spec.Image.Ref}
	if !spec.Image.FromSource {
		if m.Holds, err = p.holds(ctx, control.ID); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return p.docker.WriteFile(ctx, control.ID, markFile, 0o644, raw)
}

// uncancelable runs what has no context. When ctx ends first the nodes are
// taken away under it, which makes it fail soon; whatever is left after that
// is named in the error.
func (p *Provider) uncancelable(ctx context.Context, name string, create func() error) error {
	done := make(chan error, 1)
	go func() { done <- create() }()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		return p.sweep(ctx, name, p.lastWords(ctx, name, explain(err)))
	case <-ctx.Done():
	}
	cause := context.Cause(ctx)
	sweeping, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepPatience)
	defer cancel()
	// A node that is only being made shows up later: look again until kind has
	// returned.
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		err := p.Delete(sweeping, name)
		select {
		case <-done:
			return p.sweep(ctx, name, cause)
		case <-sweeping.Done():
			return leftBehind(name, errors.Join(cause, err))
		case <-again.C:
		}
	}
}

// sweep removes what a failed making left, and returns the failure.
func (p *Provider) sweep(ctx context.Context, name string, failure error) error {
	sweeping, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepPatience)
	defer cancel()
	if err := p.Delete(sweeping, name); err != nil {
		return leftBehind(name, errors.Join(failure, err))
	}
	return failure
}

func leftBehind(name string, err error) error {
	return &fault.Error{
		Op: "removing the half-made cluster", Subject: cluster.ContextName(name), Err: err,
		Hint: fmt.Sprintf("containers are left; `kfdev up` takes them away, or: docker rm -fv $(docker ps -aq --filter label=%s=%s)", labelCluster, cluster.ContextName(name)),
	}
}

// explain adds the end of what a failed command of kind's wrote.
func explain(err error) error {
	f := &fault.Error{Op: "making the cluster", Err: err}
	if run := kindexec.RunErrorForError(err); run != nil {
		f.Err = fmt.Errorf("%w:\n%s", err, verdict(string(run.Output)))
	}
	return f
}

// verdict is the end of a command's output that says why it failed. After that
// kubeadm writes where in its source it was.
func verdict(output string) string {
	if at := strings.LastIndex(output, "\nerror: "); at >= 0 {
		line, _, _ := strings.Cut(output[at+1:], "\n")
		return line
	}
	return tail(output, 15)
}

// lastWords adds what the control plane's node has to say, when it can be asked.
func (p *Provider) lastWords(ctx context.Context, name string, failure error) error {
	if ctx.Err() != nil {
		return failure
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	containers, err := p.nodes(ctx, name)
	if err != nil || len(containers) == 0 || !containers[0].Running {
		return failure
	}
	// The units' own messages say only that they failed: the programs' do not.
	words, err := p.docker.Exec(ctx, containers[0].ID, "journalctl", "--no-pager", "--lines=200", "--output=cat", "_SYSTEMD_UNIT=kubelet.service", "_SYSTEMD_UNIT=containerd.service")
	if err != nil {
		return failure
	}
	if words = complaints(words); words == "" {
		return failure
	}
	return fmt.Errorf("%w\nlast words of %s:\n%s", failure, containers[0].Name, tail(words, 8))
}

// complaints are the lines of klog and of containerd that tell of an error.
func complaints(journal string) string {
	var out []string
	for line := range strings.Lines(journal) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "E") || strings.HasPrefix(line, "F") || strings.Contains(line, "level=error") || strings.Contains(line, "level=fatal") {
			out = append(out, line[:min(len(line), 500)])
		}
	}
	return strings.Join(out, "\n")
}

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
