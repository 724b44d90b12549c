package envs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// space is what is free on a file system, bytes: for everybody, and for root,
// for whom some is kept back (statfs(2): f_bavail and f_bfree).
type space struct{ everybody, root int64 }

// unknown is an amount that can't be told.
const unknown = -1

// room is an amount of memory and of disk, bytes.
type room struct{ memory, disk int64 }

// takes is what the stack takes when it is up and idles: an estimate.
func (r *upRun) takes() room {
	all := room{memory: nodeMemory, disk: r.settled.lock.Node.Image.Size * 3}
	for _, p := range r.settled.parts {
		all.memory += p.Needs.Memory.Value()
		all.disk += p.Needs.Disk.Value()
	}
	return all
}

// has is what the machine could give now.
func (r *upRun) has() room {
	return room{memory: availableMemory(), disk: r.world.Disk(r.dataRoot).everybody}
}

// enough holds what a plan is to do against what the machine has. What surely
// does not fit is a fault of kind Preflight; what may not is a warning.
func (r *upRun) enough(items []plan.Item) error {
	var least int64
	whole := false // a cluster is to be made or started, and with it all of the stack
	for _, i := range items {
		if i.Work.Needed {
			least += i.Work.Disk
			whole = whole || i.ID == clusterStep
		}
	}
	if err := r.fits(least); err != nil || !whole {
		return err
	}
	takes, has := r.takes(), r.has()
	if has.memory != unknown && has.memory < takes.memory {
		progress.Warn(r.sink, fmt.Sprintf("the stack takes about %s of memory when it idles, %s are free", size(takes.memory), size(has.memory)))
	}
	if has.disk != unknown && has.disk < takes.disk {
		progress.Warn(r.sink, fmt.Sprintf("the stack takes up to %s of disk in %s, %s are free", size(takes.disk), r.dataRoot, size(has.disk)))
	}
	return nil
}

// fits refuses what the daemon, which may run as root, would have to write
// into less than there is. Where its data is not on this machine, nothing is
// known.
func (r *upRun) fits(bytes int64) error {
	free := r.world.Disk(r.dataRoot)
	if free.root == unknown || bytes <= free.root {
		return nil
	}
	return &fault.Error{
		Op: "making room for images", Subject: r.dataRoot, Kind: fault.Preflight,
		Hint: "make room there; `docker system df` says what takes it",
		Err:  fmt.Errorf("at least %s are to be written, %s are free", size(bytes), size(free.root)),
	}
}

// roomToBuild is enough for a build, which is written below the cache folder.
func (e *Engine) roomToBuild(will source.Plan) error {
	switch free := e.world.Disk(e.dirs.Cache); {
	case free.root == unknown:
	case will.Download > free.root:
		return &fault.Error{
			Op: "making room for a build", Subject: e.dirs.Cache, Kind: fault.Preflight,
			Hint: "make room there (`kfdev images prune` removes what no lock has), or set XDG_CACHE_HOME to a folder on another disk",
			Err:  fmt.Errorf("at least %s are to be fetched, %s are free", size(will.Download), size(free.root)),
		}
	case will.Disk > free.everybody:
		progress.Warn(e.sink, fmt.Sprintf("the build writes about %s below %s, %s are free", size(will.Disk), e.dirs.Cache, size(free.everybody)))
	}
	return nil
}

// known is size for what may not be known.
func known(n int64) string {
	if n == unknown {
		return "an unknown amount"
	}
	return size(n)
}

// availableMemory is what the kernel could give to new programs, bytes;
// unknown where it does not say.
func availableMemory() int64 {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return unknown
			}
			return kib << 10
		}
	}
	return unknown
}

// diskSpace is what is free where dir lies; unknown where that can't be told,
// for one since dir is not there.
func diskSpace(dir string) space {
	var fs unix.Statfs_t
	for {
		err := unix.Statfs(dir, &fs)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return space{everybody: unknown, root: unknown}
		}
		return space{everybody: int64(fs.Bavail) * fs.Bsize, root: int64(fs.Bfree) * fs.Bsize}
	}
}
