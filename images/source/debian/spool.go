package debian

import (
	"io"
	"os"
)

// spool holds the unpacked files of one layer in a single file that has no
// name any more: nothing is left behind, however the process ends, and it goes
// when the last entry that reads from it does.
type spool struct {
	file *os.File
	size int64
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "spool-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &spool{file: f}, nil
}

// add copies r to the end and returns how to open it again.
func (s *spool) add(r io.Reader) (size int64, open func() (io.ReadCloser, error), err error) {
	at := s.size
	n, err := io.Copy(s.file, r)
	s.size += n
	return n, func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(s.file, at, n)), nil
	}, err
}
