package wheels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// A download is cut into batches so that several run at once and an
// interruption loses no more than those.
const (
	batchBytes = 32 << 20
	batchFiles = 16
	atOnce     = 4
)

// Fetch downloads the wheels that the store lacks. What pip brings is taken by
// file name and hash and by nothing else.
func (m *Maker) Fetch(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (err error) {
	missing, err := source.Missing(ctx, m.store, Kind, inputs)
	if err != nil {
		return err
	}
	task := progress.Start(m.sink, "images/fetch/"+spec.Recipe+"/wheels", "downloading the wheels of "+spec.Recipe, totalSize(missing), progress.Bytes)
	if len(missing) == 0 {
		task.Skip("the wheels of " + spec.Recipe + " are in the store")
		return nil
	}
	defer func() { task.End(err) }()
	lock, err := readLock(spec)
	if err != nil {
		return err
	}
	tags, err := newTagSet(lock.Python, lock.Platform)
	if err != nil {
		return err
	}
	scratch, remove, err := source.Scratch(m.scratch, "wheels")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	command, err := m.client.find(ctx, scratch)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, batch := range batches(missing) {
		d := download{store: m.store, task: task, command: command, tags: tags, python: lock.Python,
			folder: filepath.Join(scratch, fmt.Sprintf("batch-%d", i)), wheels: batch}
		group.Go(func() error { return d.run(groupCtx) })
	}
	return group.Wait()
}

func totalSize(inputs []recipe.Input) int64 {
	var total int64
	for _, i := range inputs {
		total += i.Size
	}
	return total
}

// batches cuts the wheels up, the largest first, so that the longest download
// starts first.
func batches(wheels []recipe.Input) [][]recipe.Input {
	sorted := slices.Clone(wheels)
	slices.SortStableFunc(sorted, func(a, b recipe.Input) int {
		switch {
		case a.Size > b.Size:
			return -1
		case a.Size < b.Size:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	var out [][]recipe.Input
	var batch []recipe.Input
	for _, w := range sorted {
		if len(batch) > 0 && (len(batch) == batchFiles || totalSize(batch)+w.Size > batchBytes) {
			out = append(out, batch)
			batch = nil
		}
		batch = append(batch, w)
	}
	return append(out, batch)
}

// download is one run of pip.
type download struct {
	store   source.Inputs
	task    *progress.Task
	command []string
	tags    tagSet
	python  string
	folder  string
	wheels  []recipe.Input
}

func (d download) run(ctx context.Context) error {
	got := filepath.Join(d.folder, "got")
	if err := os.MkdirAll(got, 0o755); err != nil {
		return &fault.Error{Op: "downloading wheels", Err: err}
	}
	list := filepath.Join(d.folder, "requirements.txt")
	if err := os.WriteFile(list, d.requirements(), 0o600); err != nil {
		return &fault.Error{Op: "downloading wheels", Err: err}
	}
	stop := d.watch(ctx)
	_, err := run(ctx, d.folder, d.command[0], d.arguments(got, list)...)
	watched := stop()
	if err != nil {
		return &fault.Error{Op: "downloading wheels", Subject: d.names(), Err: err,
			Hint: "see whether pip can reach its package index: python3 -m pip download --no-deps " + d.wheels[0].Name + "==" + d.wheels[0].Version}
	}
	if err := d.keep(ctx, got); err != nil {
		return err
	}
	d.task.Add(totalSize(d.wheels) - watched)
	return os.RemoveAll(d.folder)
}

func (d download) names() string {
	const shown = 3
	var names []string
	for _, w := range d.wheels[:min(shown, len(d.wheels))] {
		names = append(names, w.Name+" "+w.Version)
	}
	if more := len(d.wheels) - shown; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// requirements pins every wheel by its hash alone, so that of several files
// that fit pip takes that one.
func (d download) requirements() []byte {
	var b strings.Builder
	for _, w := range d.wheels {
		fmt.Fprintf(&b, "%s==%s --hash=%s\n", w.Name, w.Version, w.Hash)
	}
	return []byte(b.String())
}

// arguments asks for wheels of the locked interpreter, whatever Python pip
// itself runs on. Downloads are not cached a second time: the store keeps them.
func (d download) arguments(got, list string) []string {
	args := append([]string(nil), d.command[1:]...)
	args = append(args, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir",
		"--dest", got, "--requirement", list,
		"--implementation", "cp", "--python-version", d.python,
		"--abi", fmt.Sprintf("cp3%d", d.tags.minor), "--abi", "abi3", "--abi", "none")
	for _, p := range d.tags.platforms {
		args = append(args, "--platform", p)
	}
	return args
}

// keep moves what came into the store, which checks the hashes.
func (d download) keep(ctx context.Context, got string) error {
	for _, w := range d.wheels {
		err := source.Keep(ctx, d.store, w.Hash, filepath.Join(got, w.File))
		if errors.Is(err, fs.ErrNotExist) {
			return &fault.Error{Op: "downloading wheels", Subject: w.File, Kind: fault.NotFound,
				Err:  errors.New("pip brought another file than the one locked"),
				Hint: "the package index that pip uses may rename files; see pip config list"}
		}
		if err != nil {
			return &fault.Error{Op: "keeping a wheel", Subject: w.File, Err: err}
		}
	}
	return nil
}

// watchEvery is how often the size of what has come so far is looked at: pip
// tells nobody while it downloads.
const watchEvery = 300 * time.Millisecond

// watch adds to the task what appears below the download's folder until the
// returned function is called, which returns how much that was.
func (d download) watch(ctx context.Context) func() int64 {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan int64)
	total := totalSize(d.wheels)
	go func() {
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		var seen int64
		for {
			select {
			case <-ctx.Done():
				done <- seen
				return
			case <-ticker.C:
				if now := min(folderSize(d.folder), total); now > seen {
					d.task.Add(now - seen)
					seen = now
				}
			}
		}
	}()
	return func() int64 {
		cancel()
		return <-done
	}
}

// folderSize sums the sizes of the files below a folder that is being written;
// what vanishes meanwhile is not counted.
func folderSize(folder string) int64 {
	var total int64
	_ = filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // gone meanwhile
		}
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
