package helper

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is the first process of another container.
type process struct {
	pid      int
	uid, gid int
	groups   []int
}

// errOwn: the process namespace is not the other container's.
var errOwn = errors.New("the first process here is the helper's own: this container runtime does not share the process namespace of a target")

// findProcess returns the process of a container by its ID: the lowest whose
// control groups name it. Where the container's process namespace is this one
// (shared is false), process 1 is it even where the groups don't tell.
func findProcess(proc, container string, shared bool) (process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return process{}, err
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	for _, pid := range pids {
		groups, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "cgroup"))
		if err != nil || !bytes.Contains(groups, []byte(container)) {
			continue
		}
		if p, err := readProcess(proc, pid); !errors.Is(err, fs.ErrNotExist) { // it has not ended meanwhile
			return p, err
		}
	}
	if shared {
		return process{}, fmt.Errorf("no process of the container %s is to be seen", container)
	}
	mine, err := os.ReadFile(filepath.Join(proc, "self", "cgroup"))
	if err != nil {
		return process{}, err
	}
	first, err := os.ReadFile(filepath.Join(proc, "1", "cgroup"))
	if err != nil {
		return process{}, err
	}
	if bytes.Equal(mine, first) {
		return process{}, errOwn
	}
	return readProcess(proc, 1)
}

// readProcess reads whose a process is, as proc(5) writes it.
func readProcess(proc string, pid int) (process, error) {
	raw, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return process{}, err
	}
	p := process{pid: pid, uid: -1, gid: -1}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		numbers, err := ints(strings.Fields(value))
		switch {
		case err != nil:
		case name == "Uid" && len(numbers) == 4:
			p.uid = numbers[1] // the effective one
		case name == "Gid" && len(numbers) == 4:
			p.gid = numbers[1]
		case name == "Groups":
			p.groups = numbers
		}
	}
	if p.uid < 0 || p.gid < 0 {
		return process{}, fmt.Errorf("%s does not say whose process %d is", proc, pid)
	}
	return p, nil
}

func ints(words []string) ([]int, error) {
	var numbers []int
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// become takes on the user of the process where this is another one. The kernel
// lets a process look into another's root only if both have the same user and
// group, and this one no fewer capabilities (ptrace(2), "Ptrace access mode
// checking"); and files that are written belong to the right user that way.
func (p process) become() error {
	if os.Geteuid() == p.uid && os.Getegid() == p.gid {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the container's process belongs to user %d and group %d, and the helper to %d and %d", p.uid, p.gid, os.Geteuid(), os.Getegid())
	}
	if err := errors.Join(syscall.Setgroups(p.groups), syscall.Setgid(p.gid), syscall.Setuid(p.uid)); err != nil {
		return fmt.Errorf("becoming user %d: %w", p.uid, err)
	}
	// Its own files in /proc are root's otherwise.
	return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
}

// place returns the view of the process's container.
func (p process) place(proc string) (place, error) {
	dir := filepath.Join(proc, strconv.Itoa(p.pid))
	view := place{prefix: filepath.Join(dir, "root"), work: "/"}
	if _, err := os.ReadDir(view.prefix); errors.Is(err, fs.ErrPermission) {
		return place{}, fmt.Errorf("the files of the container are closed to the helper: its process %d may not be looked into by user %d "+
			"(it may have more capabilities, or have made itself closed): %w", p.pid, os.Geteuid(), err)
	} else if err != nil {
		return place{}, err
	}
	if work, err := os.Readlink(filepath.Join(dir, "cwd")); err == nil {
		view.work = work
	}
	environment, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err == nil {
		for each := range bytes.SplitSeq(environment, []byte{0}) {
			if home, ok := bytes.CutPrefix(each, []byte("HOME=")); ok {
				view.home = string(home)
			}
		}
	}
	return view, nil
}
