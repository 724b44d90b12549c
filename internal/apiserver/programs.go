package apiserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/internal/dirs"
	"github.com/kfdev/kfdev/internal/filelock"
)

// Run starts a server for a test and stops it with the test. Its programs are
// those of the image recipes, built once and kept in the user's cache.
func Run(tb testing.TB, controllers bool, args ...string) *rest.Config {
	tb.Helper()
	programs, err := Build(tb.Context())
	require.NoError(tb, err)
	server, err := Start(tb.Context(), Options{Programs: programs, Dir: tb.TempDir(), Controllers: controllers, Args: args})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, server.Stop()) })
	return server.Config
}

// Build builds the programs from their image recipes, where the user's cache
// does not have them. Several processes may call it at once.
func Build(ctx context.Context) (Programs, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return Programs{}, err
	}
	d, err := dirs.Find(os.Getenv)
	if err != nil {
		return Programs{}, err
	}
	cache := filepath.Join(d.Cache, "apiserver")
	lock, err := filelock.Acquire(ctx, filepath.Join(cache, "lock"), "building kube-apiserver for tests", nil)
	if err != nil {
		return Programs{}, err
	}
	defer lock.Release() //nolint:errcheck // it ends with the process at the latest
	kubernetes, err := build(ctx, filepath.Join(root, "images", "catalog", "kubernetes"), cache)
	if err != nil {
		return Programs{}, err
	}
	etcd, err := build(ctx, filepath.Join(root, "images", "catalog", "etcd"), cache)
	return Programs{Kubernetes: kubernetes, Etcd: etcd}, err
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kfdev/kfdev").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module's folder: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// build builds the one program of a recipe's module, under a name that says
// what it was built from.
func build(ctx context.Context, recipe, cache string) (string, error) {
	h := sha256.New()
	files := map[string][]byte{}
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		data, err := os.ReadFile(filepath.Join(recipe, name+".txt"))
		if err != nil {
			return "", err
		}
		files[name] = data
		h.Write(fmt.Appendf(nil, "%s %d\n", name, len(data))) // a hash takes everything
		h.Write(data)
	}
	program := filepath.Join(cache, filepath.Base(recipe)+"-"+hex.EncodeToString(h.Sum(nil)[:8]))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	dir, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder in a cache
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return "", err
		}
	}
	// The flags of the image recipes, so that both share the build cache.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", flags(filepath.Base(recipe)), "-o", "program", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("building %s: %w", filepath.Base(recipe), err), errors.New(string(out)))
	}
	return program, os.Rename(filepath.Join(dir, "program"), program)
}

func flags(recipe string) string {
	const common = "-s -w -buildid="
	if recipe != "kubernetes" {
		return common
	}
	// Without a version that it can read, the API server ends at once.
	return common + " -X k8s.io/component-base/version.gitVersion=v1.36.1" +
		" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
}
