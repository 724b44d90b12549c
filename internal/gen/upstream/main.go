// Command upstream fills the upstream folders of the catalogs from Go modules,
// before kfdev is built. It writes nothing that differs from the recorded sums
// unless it is told to record.
//
//	go run ./internal/gen/upstream            fill
//	go run ./internal/gen/upstream -record    fill, and write upstream.sum
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/upstream"
)

func main() {
	record := flag.Bool("record", false, "write "+upstream.SumFile+" from what was found, instead of checking against it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dirs := flag.Args()
	if len(dirs) == 0 {
		dirs = []string{"stack/catalog", "images/catalog", "images/catalog/node"}
	}
	for _, dir := range dirs {
		if err := fill(ctx, dir, *record); err != nil {
			fmt.Fprintf(os.Stderr, "error: %s: %v\n", dir, err)
			stop()
			os.Exit(1) //nolint:gocritic // the deferred stop has been called
		}
	}
}

// fill fills the upstream folder below dir.
func fill(ctx context.Context, dir string, record bool) error {
	list, err := upstream.ReadList(os.DirFS(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // this catalog takes nothing
	}
	if err != nil {
		return err
	}
	if !record && upToDate(dir) {
		return nil
	}
	files, err := upstream.Gather(ctx, list, upstream.FromGo)
	if err != nil {
		return err
	}
	if err := check(dir, files, record); err != nil {
		return err
	}
	changed, err := upstream.Write(dir, files)
	fmt.Fprintf(os.Stderr, "%s: %d upstream files, %d changed\n", dir, len(files), changed)
	return err
}

// upToDate reports whether the folder already holds every recorded file and no
// other, so that a build without a network works.
func upToDate(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, upstream.SumFile))
	if err != nil {
		return false
	}
	sums, err := upstream.ParseSums(data)
	if err != nil || upstream.Check(os.DirFS(dir)) != nil {
		return false
	}
	count := 0
	err = filepath.WalkDir(filepath.Join(dir, upstream.Dir), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "README.md" {
			count++
		}
		return err
	})
	return err == nil && count == len(sums)
}

func check(dir string, files map[string][]byte, record bool) error {
	name := filepath.Join(dir, upstream.SumFile)
	if record {
		sums := upstream.Sums{}
		for file, content := range files {
			sums[file] = upstream.Sum(content)
		}
		return atomicfile.Write(name, []byte(sums.String()), 0o644)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	sums, err := upstream.ParseSums(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if lines := upstream.Differences(sums, files); len(lines) > 0 {
		return fmt.Errorf("what the modules hold is not what %s records:\n  %s", name, strings.Join(lines, "\n  "))
	}
	return nil
}
