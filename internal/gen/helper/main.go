// Command helper builds the program that sync sessions run in pods, for every
// architecture, into the folder from which it is embedded into kfdev. It builds
// nothing while nothing that the program is made of has changed.
//
//	go run ./internal/gen/helper
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// The places, from the root of the repository.
const (
	source = "./cmd/kfdev-sync-helper"
	folder = "sync/helper/program"
)

// inputsFile holds what the programs were made of.
const inputsFile = program.Dir + "/inputs.sha256"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := generate(ctx, folder); err != nil {
		fmt.Fprintf(os.Stderr, "error: building the helper: %v\n", err)
		stop()
		os.Exit(1) //nolint:gocritic // the deferred stop has been called
	}
}

func generate(ctx context.Context, to string) error {
	inputs, err := fingerprint(ctx)
	if err != nil {
		return err
	}
	stamp := filepath.Join(to, inputsFile)
	if was, err := os.ReadFile(stamp); err == nil && strings.TrimSpace(string(was)) == inputs && complete(to) {
		return nil
	}
	for _, arch := range program.Archs() {
		packed, plain, err := build(ctx, arch, to)
		if err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		fmt.Fprintf(os.Stderr, "the sync helper for %s: %.1f MB, %.1f MB compressed\n", arch, float64(plain)/1e6, float64(packed)/1e6)
	}
	return atomicfile.Write(stamp, []byte(inputs+"\n"), 0o644)
}

// complete reports whether the programs are there.
func complete(to string) bool {
	for _, arch := range program.Archs() {
		for _, name := range []string{program.GzipFile(arch), program.SumFile(arch)} {
			if _, err := os.Stat(filepath.Join(to, name)); err != nil {
				return false
			}
		}
	}
	return true
}

// flags are the build's: what is in the program depends on nothing but the
// source and the toolchain.
func flags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}
}

// environment is the build's, without what a person may have set.
func environment(arch string) []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "GOWORK=off")
}

// fingerprint is a digest of all that goes into the programs: this module's
// packages among their dependencies, the versions of all others, the toolchain
// and its flags.
func fingerprint(ctx context.Context) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), flags(), program.Archs())
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := add(sum, name); err != nil {
			return "", err
		}
	}
	for _, arch := range program.Archs() {
		const format = `{{if and (not .Standard) .Module.Main}}{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .SFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{end}}`
		files, err := run(ctx, arch, "list", "-deps", "-f", format, source)
		if err != nil {
			return "", err
		}
		for name := range strings.FieldsSeq(string(files)) {
			if err := add(sum, name); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func add(sum hash.Hash, name string) error {
	content, err := os.ReadFile(name)
	if err == nil {
		fmt.Fprintln(sum, filepath.Base(name), len(content))
		_, err = sum.Write(content)
	}
	return err
}

// build builds one program and writes it.
func build(ctx context.Context, arch, to string) (packed, plain int, err error) {
	dir, err := os.MkdirTemp("", "kfdev-helper")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "helper")
	if _, err := run(ctx, arch, append(append([]string{"build", "-o", out}, flags()...), source)...); err != nil {
		return 0, 0, err
	}
	content, err := os.ReadFile(out)
	if err != nil {
		return 0, 0, err
	}
	var small bytes.Buffer
	if err := pack(&small, content); err != nil {
		return 0, 0, err
	}
	sum := sha256.Sum256(content)
	err = errors.Join(
		atomicfile.Write(filepath.Join(to, program.GzipFile(arch)), small.Bytes(), 0o644),
		atomicfile.Write(filepath.Join(to, program.SumFile(arch)), []byte(hex.EncodeToString(sum[:])+"\n"), 0o644),
	)
	return small.Len(), len(content), err
}

// pack compresses. It is gzip, which pods have too: they take it as it is.
func pack(to io.Writer, content []byte) error {
	w, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return errors.Join(err, w.Close())
}

// run runs go for an architecture.
func run(ctx context.Context, arch string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the arguments are this program's own
	command.Env = environment(arch)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.String())
	}
	return out, nil
}
