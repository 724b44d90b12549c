package apt

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/filelock"
	"github.com/kfdev/kfdev/internal/progress"
)

// Download has apt fetch exact versions into dir, each under its File name.
// Task, when not nil, is told the bytes as they come. What arrived is for the
// caller to check against the hash it has.
func (a *Archive) Download(ctx context.Context, packages []Package, dir string, task *progress.Task) error {
	unlock, err := a.lock(ctx, filelock.Shared)
	if err != nil {
		return err
	}
	defer unlock()
	args := []string{"download", "-qq", "-o", "APT::Status-Fd=1", "-o", "Dir::Cache::archives=" + dir}
	var total int64
	for _, p := range packages {
		args = append(args, p.Name+":"+Architecture+"="+p.Version)
		total += p.Size
	}
	if _, err := a.run(ctx, dir, &statusReader{task: task, total: total}, "apt-get", args...); err != nil {
		return &fault.Error{
			Op: "downloading Debian packages", Err: err,
			Hint: "kfdev uses apt as this machine has it configured; \"apt-get download\" must work",
		}
	}
	return nil
}

// statusReader turns apt's status lines, "dlstatus:item:percent:text", into
// bytes for a task.
type statusReader struct {
	task  *progress.Task
	total int64
	told  int64
	rest  []byte
}

// Write takes apt's output as it comes; lines of other kinds are left out.
func (s *statusReader) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for {
		line, rest, ok := bytes.Cut(s.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		s.rest = rest
		fields := strings.SplitN(string(line), ":", 4)
		if len(fields) != 4 || fields[0] != "dlstatus" || s.task == nil {
			continue
		}
		percent, err := strconv.ParseFloat(fields[2], 64)
		if err != nil || percent < 0 || percent > 100 {
			continue
		}
		if now := int64(percent / 100 * float64(s.total)); now > s.told {
			s.task.Add(now - s.told)
			s.told = now
		}
	}
}
