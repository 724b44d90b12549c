// Command kfdev-sync-helper is the side of a sync session that is in the pod. It
// travels inside kfdev, which puts it there and runs it.
package main

import (
	"context"
	"os"

	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/folder"
	"github.com/kfdev/kfdev/sync/helper"
)

func main() {
	streams := helper.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(helper.Run(context.Background(), os.Args[1:], streams, folder.Opener(progress.Discard)))
}
