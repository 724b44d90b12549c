// Package helper is the program that a session runs in a pod. It serves the
// folder there over its standard input and output, and ends when they do.
//
//	serve                    serve a folder of this container
//	serve -container ID      serve a folder of another container of the pod,
//	                         through its root in /proc
//	check SHA256             say the SHA-256 if it is this program's, else fail
//	idle                     do nothing until told to end: the first process of
//	                         a container that the helper is started in later
package helper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/kfdev/kfdev/sync/wire"
)

// softMemory is what the collector tries to stay below, bytes: the helper shares
// the memory limit of the container that it is a guest in.
const softMemory = 160 << 20

// Streams are the program's.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run runs the program and returns its exit code. What fails is told in one
// line on s.Err; nothing but the protocol is written to s.Out. Folder opens what
// is served.
func Run(ctx context.Context, args []string, s Streams, folder wire.Opener) int {
	// A reader that has gone is an error of the write that finds it out, so that
	// what was begun is put away before the end.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, args, s, folder); err != nil {
		fmt.Fprintf(s.Err, "kfdev-sync-helper: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string, s Streams, folder wire.Opener) error {
	if len(args) == 0 {
		return errors.New("serve, check or idle is wanted")
	}
	switch rest := args[1:]; args[0] {
	case "serve":
		return serveCommand(ctx, rest, s, folder)
	case "check":
		if len(rest) != 1 {
			return errors.New("check takes a SHA-256")
		}
		if err := check("/proc/self/exe", rest[0]); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.Out, rest[0])
		return err
	case "idle":
		<-ctx.Done()
		return nil
	default:
		return fmt.Errorf("%q is no command", args[0])
	}
}

// check compares a file with a SHA-256 in hexadecimal.
func check(file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != want {
		return fmt.Errorf("this is %s and not %s", have, want)
	}
	return nil
}

func serveCommand(ctx context.Context, args []string, s Streams, folder wire.Opener) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	container := flags.String("container", "", "the ID of the container whose files are served")
	shared := flags.Bool("shared", false, "all containers of the pod share one process namespace")
	mark := flags.String("mark", "", "a word to say, with start behind it, before the protocol")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is not understood", flags.Arg(0))
	}
	debug.SetMemoryLimit(softMemory)
	oom := goFirst()
	place := own()
	run := runner(place, oom)
	if *container != "" {
		target, err := findProcess("/proc", *container, *shared)
		if err != nil {
			return err
		}
		if err := target.become(); err != nil {
			return err
		}
		run = nil // its programs are in the other container
		if place, err = target.place("/proc"); err != nil {
			return err
		}
	}
	if *mark != "" {
		if _, err := fmt.Fprintln(s.Out, *mark, "start"); err != nil {
			return err
		}
	}
	return serve(ctx, s, place, folder, run)
}
