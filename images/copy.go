package images

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Defaults of a Copier: how many blobs move at once, how many questions are
// asked at once, and how often a blob is tried where the failure says that it
// may pass.
const (
	defaultParallel = 4
	parallelChecks  = 16
	blobAttempts    = 3
)

// Copier copies images between an origin and a target. Only blobs that the
// target lacks are opened at the origin, each once, and a manifest is written
// after all that it names, so that a copy that was cut short leaves no image
// that cannot be pulled.
type Copier struct {
	From Origin
	To   Target
	Sink progress.Sink // nil drops every event
	// Task is the identity of the copy's progress; "images/copy" when empty.
	Task string
	// Platforms limits which children of an index are copied; none means all.
	Platforms []v1.Platform
	// Referrers has what is about the images copied, too: signatures, attestations.
	Referrers bool
	// Parallel is how many blobs move at once; 0 means 4.
	Parallel int
}

// Copied says what a copy did.
type Copied struct {
	Blobs     int   // moved
	Bytes     int64 // of the blobs moved
	Present   int   // blobs that were there already
	Manifests int   // written
	Referrers int   // artifacts about the images that were copied
}

// job is one blob and the repositories that lack it.
type job struct {
	desc         v1.Descriptor
	repositories []string
}

// Copy copies the closures of refs. It is idempotent: what a copy that failed
// or was canceled had moved is not moved again.
func (c *Copier) Copy(ctx context.Context, refs ...Ref) (Copied, error) {
	var done Copied
	closures, held, err := c.walk(ctx, refs)
	if err != nil {
		return done, err
	}
	jobs, present, err := c.missing(ctx, closures)
	if err != nil {
		return done, err
	}
	done.Present = present
	var total int64
	for _, j := range jobs {
		total += j.desc.Size
	}
	if err := c.move(ctx, jobs, total); err != nil {
		return done, err
	}
	done.Blobs, done.Bytes = len(jobs), total
	if done.Manifests, err = c.putManifests(ctx, closures, held); err != nil || !c.Referrers {
		return done, err
	}
	done.Referrers, err = c.copyReferrers(ctx, closures)
	return done, err
}

// walk reads every closure. Manifests that the target has are read from there,
// where it can be read, so that a copy of what is there needs no origin; held
// knows which those are.
func (c *Copier) walk(ctx context.Context, refs []Ref) ([]Closure, *nearest, error) {
	held := &nearest{far: c.From}
	if near, ok := c.To.(manifestReader); ok {
		held.near = near
	}
	closures := make([]Closure, len(refs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelChecks)
	for i, ref := range refs {
		g.Go(func() (err error) {
			closures[i], err = Walk(ctx, held, ref, c.Platforms)
			return err
		})
	}
	return closures, held, g.Wait()
}

// nearest reads manifests from near, when it is not nil, and from far those
// that near lacks.
type nearest struct {
	near, far manifestReader
	had       sync.Map // Ref of each manifest that near has
}

// Manifest reads one.
func (n *nearest) Manifest(ctx context.Context, ref Ref) (Manifest, error) {
	if n.near != nil {
		m, err := n.near.Manifest(ctx, ref)
		if err == nil {
			n.had.Store(ref, true)
		}
		if err == nil || ctx.Err() != nil {
			return m, err
		}
	}
	// Whatever is wrong with the near copy, the far one is the truth.
	return n.far.Manifest(ctx, ref)
}

// missing asks the target for every blob and returns those that it lacks, the
// largest first (they decide when the copy ends), and how many it has.
func (c *Copier) missing(ctx context.Context, closures []Closure) ([]job, int, error) {
	type place struct {
		repository string
		digest     v1.Hash
	}
	seen := map[place]bool{}
	var asked []job
	for _, closure := range closures {
		for _, b := range closure.Blobs {
			p := place{closure.Ref.Repository, b.Digest}
			if !seen[p] {
				seen[p] = true
				asked = append(asked, job{desc: b, repositories: []string{closure.Ref.Repository}})
			}
		}
	}
	lacking := make([]bool, len(asked))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelChecks)
	for i, a := range asked {
		g.Go(func() error {
			has, err := c.To.Has(ctx, a.repositories[0], a.desc)
			lacking[i] = !has
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, &fault.Error{Op: "asking the target what it has", Err: err}
	}
	jobs, present := merge(asked, lacking)
	return jobs, present, nil
}

// merge gathers what is lacking into one job a digest.
func merge(asked []job, lacking []bool) (jobs []job, present int) {
	at := map[v1.Hash]int{}
	for i, a := range asked {
		if !lacking[i] {
			present++
			continue
		}
		if j, ok := at[a.desc.Digest]; ok {
			jobs[j].repositories = append(jobs[j].repositories, a.repositories...)
			continue
		}
		at[a.desc.Digest] = len(jobs)
		jobs = append(jobs, a)
	}
	slices.SortStableFunc(jobs, func(a, b job) int {
		switch {
		case a.desc.Size > b.desc.Size:
			return -1
		case a.desc.Size < b.desc.Size:
			return 1
		}
		return 0
	})
	return jobs, present
}

func (c *Copier) move(ctx context.Context, jobs []job, total int64) (err error) {
	id := c.Task
	if id == "" {
		id = "images/copy"
	}
	sink := c.Sink
	if sink == nil {
		sink = progress.Discard
	}
	task := progress.Start(sink, id, "copying image content", total, progress.Bytes)
	if len(jobs) == 0 {
		task.Skip("all image content is there")
		return nil
	}
	defer func() { task.End(err) }()
	parallel := c.Parallel
	if parallel <= 0 {
		parallel = defaultParallel
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, j := range jobs {
		g.Go(func() error {
			for i, repository := range j.repositories {
				// Only the first repository's bytes count: a target that keeps
				// blobs once links the rest.
				counter := io.Writer(task)
				if i > 0 {
					counter = io.Discard
				}
				if err := c.moveBlob(ctx, repository, j, counter); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// moveBlob moves one blob, and again where the failure says that it may pass.
func (c *Copier) moveBlob(ctx context.Context, repository string, j job, counter io.Writer) error {
	var counted int64 // over all attempts, so that progress never counts a byte twice
	for attempt := 1; ; attempt++ {
		content := &lazy{
			open:    func() (io.ReadCloser, error) { return c.From.Blob(ctx, j.repositories[0], j.desc) },
			counter: counter, counted: counted,
		}
		err := c.To.PutBlob(ctx, repository, j.desc, content)
		var closeErr error
		counted, closeErr = content.close()
		err = errors.Join(err, closeErr)
		if err == nil {
			return nil
		}
		var passing interface{ Temporary() bool }
		if ctx.Err() != nil || attempt == blobAttempts || !errors.As(err, &passing) || !passing.Temporary() {
			return &fault.Error{Op: "copying a blob", Subject: repository + "@" + j.desc.Digest.String(), Err: err}
		}
	}
}

// lazy opens its content at the first Read, since a target may not need it,
// and counts what goes through beyond what was counted before. An HTTP
// transport may still be reading when a target has given up, hence the lock.
type lazy struct {
	open    func() (io.ReadCloser, error)
	counter io.Writer

	mu      sync.Mutex
	content io.ReadCloser
	closed  bool
	read    int64
	counted int64
}

// Read reads the content.
func (l *lazy) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, io.ErrClosedPipe
	}
	if l.content == nil {
		content, err := l.open()
		if err != nil {
			return 0, err
		}
		l.content = content
	}
	n, err := l.content.Read(p)
	l.read += int64(n)
	if fresh := l.read - l.counted; fresh > 0 {
		l.counted = l.read
		_, _ = l.counter.Write(p[:fresh])
	}
	return n, err
}

// close ends reading and returns how much was counted.
func (l *lazy) close() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.content == nil {
		return l.counted, nil
	}
	return l.counted, l.content.Close()
}

// putManifests writes what the target lacks, children first.
func (c *Copier) putManifests(ctx context.Context, closures []Closure, held *nearest) (int, error) {
	var written atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelChecks)
	for _, closure := range closures {
		g.Go(func() error {
			for _, n := range closure.Nodes {
				if _, ok := held.had.Load(n.Ref); ok {
					continue
				}
				written.Add(1)
				if err := c.To.PutManifest(ctx, n.Ref, n.Manifest); err != nil {
					return &fault.Error{Op: "writing a manifest", Subject: n.Ref.String(), Err: err}
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return int(written.Load()), err
}
