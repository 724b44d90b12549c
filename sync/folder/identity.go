package folder

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/sync/folder/beneath"
)

// identity is what the identity file holds. The file says of itself which one it
// is, so that a copy of it, as in an image that was built of the folder, is known
// as one: a copy has another inode, and was made at another time.
type identity struct {
	ID string `json:"id"`
	origin
	Fresh  bool   `json:"new,omitempty"`    // until the first Sync
	CopyOf string `json:"copyOf,omitempty"` // while it is fresh: the identity that was here before
}

// origin tells a file or folder from its copies, and from what takes its place.
// Everything else that a file system says of a file can be copied along, or
// changes where a volume is mounted anew (fsGroup changes owners, and with them
// the time of change).
type origin struct {
	Inode uint64 `json:"inode"`
	Birth int64  `json:"birth,omitempty"` // 0: not known
}

const (
	identitySize = 16
	maxIdentity  = 4 << 10
)

// originOf is the origin of what is at a path.
func (s *state) originOf(path string) (origin, error) {
	st, err := s.root.Stat(path)
	if err != nil {
		return origin{}, err
	}
	return origin{Inode: st.Inode, Birth: s.root.Birth(path)}, nil
}

// validIdentity is true for what newIdentity makes.
func validIdentity(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == identitySize
}

func newIdentity() string {
	var raw [identitySize]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	return hex.EncodeToString(raw[:])
}

// identify reads the folder's identity, or makes one. Where it is not sure that
// it is this folder's, it gets a new one, and whoever knew the old one has to
// compare what is in it.
func (s *state) identify(o Options) error {
	found, sure, err := s.readIdentity()
	if err != nil {
		return err
	}
	root, err := s.originOf("")
	if err != nil {
		return err
	}
	id, known := recall(o, root)
	switch {
	case sure:
		s.identity = found
	case known: // the folder is the same, and what was in StateDir went
		s.identity = identity{ID: id}
	default:
		s.identity = identity{ID: newIdentity(), Fresh: true, CopyOf: found.ID}
	}
	if !sure {
		if found.ID != "" {
			if err := s.setAside(); err != nil {
				return err
			}
		}
		if err := s.writeIdentity(s.identity); err != nil {
			return err
		}
	}
	s.forgetAside(o.TrashAge)
	s.remember(o, root)
	return nil
}

// readIdentity returns what the identity file says, and whether it is the one
// that was written. What can't be read as one is none.
func (s *state) readIdentity() (found identity, sure bool, err error) {
	b, err := s.readFile(identityPath, maxIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, err
	}
	if err := json.Unmarshal(b, &found); err != nil {
		// A bare number is the form of earlier versions, which copies were not known by.
		found = identity{ID: string(b)}
	}
	if !validIdentity(found.ID) || found.CopyOf != "" && !validIdentity(found.CopyOf) {
		return identity{}, false, nil
	}
	is, err := s.originOf(identityPath)
	return found, found.origin == is, err
}

// writeIdentity writes the identity file anew, as a file of its own.
func (s *state) writeIdentity(i identity) error {
	const fresh = identityPath + ".new"
	if err := s.root.RemoveAll(fresh); err != nil {
		return err
	}
	file, err := s.root.Create(fresh, 0o600)
	if err != nil {
		return err
	}
	// Found out once it is there: an overlay file system gives what it copies up
	// another one.
	if i.origin, err = s.originOf(fresh); err == nil {
		var text []byte
		if text, err = json.Marshal(i); err == nil {
			err = s.root.Write(file, text, 0)
		}
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, s.root.Remove(fresh))
	}
	if err := s.root.Rename(fresh, identityPath, beneath.Replace); err != nil {
		return err
	}
	s.identity = i
	return nil
}

// setAside puts away what a copy brought along: undo must not put back what was
// taken away elsewhere. Where it was no copy after all, it is still there.
func (s *state) setAside() error {
	if err := s.root.RemoveAll(indexPath); err != nil {
		return err
	}
	names, err := s.root.Names(trashPath, 1<<20)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.root.RemoveAll(asidePath); err != nil {
		return err
	}
	err = s.root.Rename(trashPath, asidePath, beneath.Replace)
	if errors.Is(err, unix.EXDEV) { // an overlay file system, and the image's own folder
		return s.root.RemoveAll(trashPath)
	}
	return err
}

// forgetAside removes what setAside has put away when it is as old as the trash
// may be. Best effort: the next time comes.
func (s *state) forgetAside(age time.Duration) {
	if st, err := s.root.Stat(asidePath); err == nil && time.Since(time.Unix(0, st.CTime)) > age {
		_ = s.root.RemoveAll(asidePath)
	}
}

// memory is what the file Options.Memory holds.
type memory struct {
	Root string `json:"root"`
	origin
	ID string `json:"id"`
}

// recall returns which identity the root had, if it is the same folder. An inode
// without a time of birth may be another folder's by now.
func recall(o Options, root origin) (string, bool) {
	if o.Memory == "" || root.Birth == 0 {
		return "", false
	}
	b, err := os.ReadFile(o.Memory)
	var m memory
	if err != nil || json.Unmarshal(b, &m) != nil {
		return "", false
	}
	return m.ID, m.Root == o.Root && m.origin == root && validIdentity(m.ID)
}

// remember writes down which identity the root has.
func (s *state) remember(o Options, root origin) {
	if o.Memory == "" || root.Birth == 0 {
		return
	}
	b, err := json.Marshal(memory{Root: o.Root, origin: root, ID: s.identity.ID})
	if err == nil {
		if old, e := os.ReadFile(o.Memory); e == nil && bytes.Equal(old, b) {
			return
		}
		err = atomicfile.Write(o.Memory, b, 0o600)
	}
	if err != nil {
		s.notes = append(s.notes, fmt.Sprintf("which folder this is can't be remembered (%v): do not delete %s in it", err, stateDir))
	}
}
