package npm

import (
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

	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/client"
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
	missing, err := source.Missing(ctx, m.store, Kind, inputs)
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
	scratch, remove, err := source.Scratch(m.scratch, "npm")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, batch := range batches(missing) {
		folder := filepath.Join(scratch, fmt.Sprintf("batch-%d", i))
		group.Go(func() error { return m.download(groupCtx, folder, batch, task) })
	}
	return group.Wait()
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
		if err := source.Keep(ctx, m.store, p.Hash, file); err != nil {
			return &fault.Error{Op: "keeping an npm package", Subject: subject, Err: err}
		}
		task.Add(1)
	}
	return os.RemoveAll(folder)
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

// run runs npm with a folder for what is temporary.
func run(ctx context.Context, folder, name string, args ...string) error {
	env := append(os.Environ(), "TMPDIR="+folder, "npm_config_update_notifier=false", "npm_config_audit=false", "npm_config_fund=false",
		"npm_config_dry_run=false", "npm_config_loglevel=error")
	_, err := client.Command{Program: name, Args: args, Dir: folder, Env: env}.Run(ctx)
	return err
}
