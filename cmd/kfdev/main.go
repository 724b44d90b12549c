// Command kfdev gives a team the same Kubeflow stack everywhere.
package main

import (
	"context"
	"os"

	"github.com/kfdev/kfdev/cmd/kfdev/root"
)

func main() {
	os.Exit(run())
}

// run is the program without its exit, for tests.
func run() int {
	return root.Run(context.Background(), os.Args[1:], root.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Getenv)
}
