package folder

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// errChanging: a file was changed while it was read.
var errChanging = errors.New("it is being changed")

// What is sent along with a batch of updates, bytes.
const (
	inlineFile  = 64 << 10
	inlineTotal = 1 << 20
)

// block is how much of a file is read at once.
const block = 256 << 10

// content is what a file holds, looked at before and after it was read.
type content struct {
	entry tree.Entry
	stamp stamp
	data  []byte        // all of it where it is small
	list  []chunk.Chunk // how it is cut, where that was asked for
	took  time.Duration
}

// settled waits until a large file that was changed just now can be read for
// sure (see stamp). That is a small part of the time that reading it takes, and
// spares reading it again.
func settled(ctx context.Context, s beneath.Stat) (time.Time, error) {
	now := time.Now()
	wait := tick - now.Sub(time.Unix(0, s.CTime)) + time.Millisecond
	if s.Size < large || wait <= 0 || wait > 2*tick {
		return now, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return time.Now(), nil
	case <-ctx.Done():
		return now, ctx.Err()
	}
}

// large is the size of a file that takes longer to be read than a tick.
const large = 16 << 20

// read reads a file for its digest and, where cut says so and it is of a size
// for that, for how it is cut. Where it was changed meanwhile the error is
// errChanging, and what is returned is what was read.
func read(ctx context.Context, root *beneath.Root, path string, limit int64, cut bool) (content, error) {
	look := time.Now()
	file, before, err := root.Open(path)
	if err != nil {
		return content{}, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	if before.Size >= large {
		if look, err = settled(ctx, before); err == nil {
			before, err = beneath.StatFile(file)
		}
		if err != nil {
			return content{}, err
		}
	}
	c := content{entry: tree.Entry{Kind: tree.File, Exec: executable(before), Size: before.Size}, stamp: stampOf(before, look)}
	if before.Size > limit {
		return c, nil // without a digest, see unread
	}
	n := int64(0)
	switch {
	case before.Size <= inlineFile:
		data := make([]byte, before.Size+1)
		read, err := io.ReadFull(file, data)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return content{}, err
		}
		c.data, n = data[:read], int64(read)
		c.entry.Digest = sha256.Sum256(c.data)
	case cut && before.Size >= chunk.Threshold:
		sum := sha256.New()
		if c.list, n, err = cutting(ctx, sum, file); err != nil {
			return content{}, err
		}
		sum.Sum(c.entry.Digest[:0])
	default:
		sum := sha256.New()
		if n, err = copyAll(ctx, sum, file); err != nil {
			return content{}, err
		}
		sum.Sum(c.entry.Digest[:0])
	}
	after, err := beneath.StatFile(file)
	if err != nil {
		return content{}, err
	}
	c.took = time.Since(look)
	if !c.stamp.is(after) || n != before.Size {
		c.entry.Size, c.stamp.sure = n, false
		return c, errChanging
	}
	return c, nil
}

// copyAll reads all of r into a hash.
func copyAll(ctx context.Context, sum hash.Hash, r io.Reader) (int64, error) {
	buffer := make([]byte, block)
	total := int64(0)
	for {
		n, err := r.Read(buffer)
		sum.Write(buffer[:n])
		total += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return total, err
		case ctx.Err() != nil:
			return total, ctx.Err()
		}
	}
}

// unread is the entry of a file whose content can't be had: too large, or not
// readable. It has no digest, so that it is like no other, and whoever wants its
// content is told why it can't be had. It must not look as if it were gone: that
// would delete it on the other side.
func unread(s beneath.Stat) tree.Entry {
	return tree.Entry{Kind: tree.File, Exec: executable(s), Size: s.Size}
}

// gone is true for errors that say that nothing is at a path: it is not there, or
// one of the folders above it is none.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// readers is how many files are read at once.
const readers = 2

// inParallel calls do for each index up to n.
func inParallel(ctx context.Context, n int, do func(i int)) {
	if n == 1 {
		do(0)
		return
	}
	next := make(chan int)
	var all sync.WaitGroup
	for range min(n, readers) {
		all.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	all.Wait()
}
