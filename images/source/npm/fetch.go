package npm

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Client is the command that takes npm's arguments. The user's own
// configuration of it (registry, proxies, credentials) holds.
type Client struct {
	Command []string
}

// DefaultClient is npm as the machine has it.
func DefaultClient() Client { return Client{Command: []string{"npm"}} }

// check fails where there is no npm.
func (c Client) check() error {
	if _, err := exec.LookPath(c.Command[0]); err != nil {
		return &fault.Error{Op: "looking for npm", Kind: fault.Preflight, Err: err, Hint: "install it: apt-get install npm"}
	}
	return nil
}

// A download is cut into batches so that an interruption loses no more than
// those; npm fetches the packages of one batch one after the other.
const (
	batchFiles = 10
	atOnce     = 4
)

// Fetch downloads the packages that the store lacks. What npm brings is taken
// by its hash and by nothing else.
func (m *Maker) Fetch(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (err error) {
	missing, err := m.missing(ctx, inputs)
	if err != nil {
		return err
	}
	task := progress.Start(m.sink, "images/fetch/"+spec.Recipe+"/npm", "downloading the npm packages of "+spec.Recipe, int64(len(missing)), progress.Items)
	if len(missing) == 0 {
		task.Skip("the npm packages of " + spec.Recipe + " are in the store")
		return nil
	}
	defer func() { task.End(err) }()
	if err := m.client.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(m.scratch, 0o755); err != nil {
		return &fault.Error{Op: "downloading npm packages", Subject: spec.Recipe, Err: err}
	}
	scratch, err := os.MkdirTemp(m.scratch, "npm-")
	if err != nil {
		return &fault.Error{Op: "downloading npm packages", Subject: spec.Recipe, Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, batch := range batches(missing) {
		folder := filepath.Join(scratch, fmt.Sprintf("batch-%d", i))
		group.Go(func() error { return m.download(groupCtx, folder, batch, task) })
	}
	return group.Wait()
}

func (m *Maker) missing(ctx context.Context, inputs []recipe.Input) ([]recipe.Input, error) {
	var missing []recipe.Input
	for _, input := range inputs {
		if input.Kind != Kind {
			continue
		}
		there, err := m.store.Has(ctx, input.Hash)
		if err != nil {
			return nil, &fault.Error{Op: "looking into the store", Subject: input.Name, Err: err}
		}
		if !there {
			missing = append(missing, input)
		}
	}
	return missing, nil
}

// batches cuts the packages up so that no two of a batch would get one file
// name: npm writes @a/b and a-b alike.
func batches(packages []recipe.Input) [][]recipe.Input {
	var out [][]recipe.Input
	var names []map[string]bool
next:
	for _, p := range packages {
		file := strings.ReplaceAll(strings.TrimPrefix(p.Name, "@"), "/", "-") + "-" + p.Version
		for i := range out {
			if len(out[i]) < batchFiles && !names[i][file] {
				out[i] = append(out[i], p)
				names[i][file] = true
				continue next
			}
		}
		out = append(out, []recipe.Input{p})
		names = append(names, map[string]bool{file: true})
	}
	return out
}

// download fetches one batch and moves it into the store.
func (m *Maker) download(ctx context.Context, folder string, packages []recipe.Input, task *progress.Task) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return &fault.Error{Op: "downloading npm packages", Err: err}
	}
	args := append([]string(nil), m.client.Command[1:]...)
	args = append(args, "pack", "--ignore-scripts", "--pack-destination", folder)
	for _, p := range packages {
		args = append(args, p.Name+"@"+p.Version)
	}
	first := packages[0].Name + "@" + packages[0].Version
	if err := run(ctx, folder, m.client.Command[0], args...); err != nil {
		return &fault.Error{Op: "downloading npm packages", Subject: first + " and others", Err: err,
			Hint: "see whether npm can reach its registry: npm view " + first + " version"}
	}
	came, err := hashFiles(folder)
	if err != nil {
		return &fault.Error{Op: "downloading npm packages", Err: err}
	}
	for _, p := range packages {
		subject := p.Name + "@" + p.Version
		file, ok := came[p.Hash]
		if !ok {
			return &fault.Error{Op: "downloading an npm package", Subject: subject,
				Err:  fmt.Errorf("npm brought none with the locked integrity %s", p.Hash),
				Hint: "the registry that npm uses has other content under this version than the one the lock was made from"}
		}
		if err := keep(ctx, m.store, p.Hash, file); err != nil {
			return &fault.Error{Op: "keeping an npm package", Subject: subject, Err: err}
		}
		task.Add(1)
	}
	return os.RemoveAll(folder)
}

func keep(ctx context.Context, store Store, hash, file string) error {
	content, err := os.Open(file) //nolint:gosec // a file of our own folder
	if err != nil {
		return err
	}
	return errors.Join(store.Put(ctx, hash, content), content.Close())
}

// hashFiles returns the tarballs of a folder by their integrity.
func hashFiles(folder string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(files))
	for _, file := range files {
		content, err := os.Open(file) //nolint:gosec // as above
		if err != nil {
			return nil, err
		}
		sum := sha512.New()
		_, err = io.Copy(sum, content)
		if err := errors.Join(err, content.Close()); err != nil {
			return nil, err
		}
		out["sha512-"+base64.StdEncoding.EncodeToString(sum.Sum(nil))] = file
	}
	return out, nil
}

// stopGrace is how long npm may take to end after it was told to.
const stopGrace = 5 * time.Second

// run runs npm in a folder. The error holds the end of what it wrote. When ctx
// ends, npm and what it started are killed.
func run(ctx context.Context, folder, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the command is the caller's
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "TMPDIR="+folder, "npm_config_update_notifier=false", "npm_config_audit=false", "npm_config_fund=false",
		"npm_config_dry_run=false", "npm_config_loglevel=error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopGrace
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		const bound = 2000
		text := strings.TrimSpace(output.String())
		return fmt.Errorf("%s: %w:\n%s", filepath.Base(name), err, text[max(0, len(text)-bound):])
	}
	return nil
}
