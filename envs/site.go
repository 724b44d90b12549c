package envs

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/internal/yamledit"
	"github.com/kfdev/kfdev/stack/apply"
)

// site is an environment's cluster, as promotions reach it.
type site struct {
	name     string
	live     *liveStack
	ledger   *ledger.Store
	identity ledger.Identity
}

func (s *site) close() { s.live.Close() }

// site connects to an environment. A cluster that is not the one the project
// remembers is refused. The caller closes it.
func (e *Engine) site(ctx context.Context, name string) (*site, error) {
	client, err := e.siteClient(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &site{name: name, live: newLiveStack(client, e.sink), ledger: ledger.New(client, e.sink)}
	if s.identity, err = ledger.Identify(ctx, client); err != nil {
		s.close()
		if apierrors.IsForbidden(err) {
			return nil, &fault.Error{Op: "connecting to the environment", Subject: name, Err: apply.Refuse(apply.Need("to tell which cluster this is", "get", "namespaces", ""))}
		}
		return nil, &fault.Error{Op: "connecting to the environment", Subject: name, Err: err,
			Hint: "see whether kubectl --context " + e.contextOf(name) + " get namespaces answers"}
	}
	known := e.file.Environments.Others[name].Cluster.ID
	if known != "" && known != s.identity.UID {
		s.close()
		return nil, &fault.Error{
			Op: "connecting to the environment", Subject: name, Kind: fault.Gate,
			Err:  fmt.Errorf("the context %s leads to the cluster %s, and the project knows %s", e.contextOf(name), s.identity.UID, known),
			Hint: fmt.Sprintf("mend the context; or, where the cluster was replaced on purpose, take environments.%s.cluster.id out of %s", name, project.FileName),
		}
	}
	e.warnOfAuthority(s)
	return s, nil
}

// warnOfAuthority tells of a server whose certificate another authority signed
// than the project remembers: renewed, or somebody in between.
func (e *Engine) warnOfAuthority(s *site) {
	known, now := e.file.Environments.Others[s.name].Cluster.Authority, s.identity.Authority
	if known == "" || known == now {
		return
	}
	is := "is not checked any more"
	if now != "" {
		is = "is signed by another authority, " + now[:12]
	}
	progress.Warn(e.sink, fmt.Sprintf("%s: the certificate of the API server %s; the project remembers %s. Where that is on purpose, take environments.%s.cluster.authority out of %s: the next promotion writes the new one",
		s.name, is, known[:12], s.name, project.FileName))
}

func (e *Engine) siteClient(ctx context.Context, name string) (*kube.Client, error) {
	if name != project.DevName {
		if _, ok := e.file.Environments.Others[name]; !ok {
			return nil, e.file.NoEnvironment(name)
		}
	}
	if e.world.Site != nil {
		return e.world.Site(ctx, name)
	}
	return e.reach(ctx, name)
}

func (e *Engine) contextOf(name string) string {
	if name == project.DevName {
		return "kfdev-" + e.file.Metadata.Name
	}
	return e.file.Environments.Others[name].Cluster.Context
}

// rememberCluster writes the cluster's identity and its authority into the
// project, where they are not there yet, so that colleagues and CI have it too.
func (e *Engine) rememberCluster(s *site) error {
	env := e.file.Environments.Others[s.name]
	missing := map[string]string{}
	if env.Cluster.ID == "" {
		missing["id"] = s.identity.UID
	}
	if env.Cluster.Authority == "" && s.identity.Authority != "" {
		missing["authority"] = s.identity.Authority
	}
	if s.name == project.DevName || len(missing) == 0 {
		return nil
	}
	path := filepath.Join(e.file.Dir, project.FileName)
	data, err := os.ReadFile(path)
	for _, key := range slices.Sorted(maps.Keys(missing)) {
		if err == nil {
			data, err = yamledit.Set(data, missing[key], "environments", s.name, "cluster", key)
		}
	}
	if err == nil {
		err = atomicfile.Write(path, data, 0o644)
	}
	if err != nil {
		return &fault.Error{Op: "remembering the cluster", Subject: s.name, Err: err,
			Hint: fmt.Sprintf("write `id: %s` under environments.%s.cluster by hand", s.identity.UID, s.name)}
	}
	env.Cluster.ID = s.identity.UID
	env.Cluster.Authority = cmp.Or(env.Cluster.Authority, s.identity.Authority)
	e.file.Environments.Others[s.name] = env
	return nil
}

// siteRegistry is an environment's registry: the same images, pushed to one
// address and pulled from another.
type siteRegistry struct {
	target     *registry.Target
	push, pull string
	pushed     difference.Relocation
}

// siteRegistry returns the registry of an environment.
func (e *Engine) siteRegistry(name string, repositories []string) (siteRegistry, error) {
	r := e.file.Environments.Others[name].Registry
	if !r.Named() {
		return siteRegistry{}, &fault.Error{
			Op: "looking for the environment's registry", Subject: name, Kind: fault.Preflight,
			Err:  errors.New("it has none: its nodes would have nowhere to pull the lock's images from"),
			Hint: fmt.Sprintf("write `registry: HOST/PREFIX` under environments.%s in %s", name, project.FileName),
		}
	}
	pushed, err := difference.NewRelocation(r.Push, repositories)
	if err != nil {
		return siteRegistry{}, err
	}
	config := registry.Config{Sink: e.sink}
	if r.CA != "" {
		if config.Transport, err = trusting(filepath.Join(e.file.Dir, r.CA)); err != nil {
			return siteRegistry{}, err
		}
	}
	return siteRegistry{target: registry.NewTarget(config, layoutOf(r.Push, pushed)), push: r.Push, pull: r.Pull, pushed: pushed}, nil
}

// layoutOf puts the lock's repositories where the relocation says, and all
// others (releases) below the prefix.
func layoutOf(prefix string, relocation difference.Relocation) registry.Layout {
	return func(repository string) string {
		if there, ok := relocation.Ref(images.Ref{Repository: repository}); ok {
			return there.Repository
		}
		return strings.TrimSuffix(prefix, "/") + "/" + repository
	}
}

// trusting is a transport that also trusts the certificates in a file.
func trusting(path string) (http.RoundTripper, error) {
	pem, err := os.ReadFile(path)
	pool, poolErr := x509.SystemCertPool()
	if poolErr != nil {
		pool = x509.NewCertPool()
	}
	if err == nil && !pool.AppendCertsFromPEM(pem) {
		err = errors.New("no certificate is in it")
	}
	if err != nil {
		return nil, &fault.Error{Op: "reading the registry's certificates", Subject: path, Kind: fault.Preflight, Err: err}
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the default transport is another one")
	}
	transport = transport.Clone()
	transport.DisableCompression = true // bytes are what their digest says, as they are
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return transport, nil
}

// reading is a registry that is read as it was written to.
type reading struct{ *registry.Target }

// Kind says registry.
func (reading) Kind() images.OriginKind { return images.FromRegistry }
