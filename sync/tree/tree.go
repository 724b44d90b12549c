// Package tree is the picture of a folder that the two sides of a sync session
// exchange and compare: which paths there are, of which kind, with which
// content. Times, owners and most mode bits are not part of it; they are each
// side's own.
package tree

import (
	"crypto/sha256"
	"encoding/hex"
)

// Kind is what a path is.
type Kind uint8

// The kinds. Absent is the zero value: nothing is there.
const (
	Absent Kind = iota
	Dir
	File
	Symlink
)

// String is the kind in words.
func (k Kind) String() string {
	switch k {
	case Dir:
		return "folder"
	case File:
		return "file"
	case Symlink:
		return "symbolic link"
	default:
		return "nothing"
	}
}

// Digest is the SHA-256 of a file's content.
type Digest [sha256.Size]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Entry is what a path holds. Two entries are the same content exactly when
// they are equal in the sense of ==.
type Entry struct {
	Kind   Kind
	Exec   bool   // of a File: its owner may execute it; as in git, the only mode bit that travels
	Size   int64  // of a File, in bytes
	Digest Digest // of a File
	Target string // of a Symlink: any bytes, as readlink gives them
}

// Change is one path that goes from an entry to another. A folder that goes
// away goes with all that is in it, and is one change for each path in it.
type Change struct {
	Path string // relative, slash-separated, any bytes; see CheckPath
	From Entry  // what is expected to be there
	To   Entry
}

// Node is a path's entry with what is below it.
type Node struct {
	Entry
	children map[string]*Node // of a Dir, by name
}

// Tree is a folder and all that is in it. The zero value is a tree whose root
// is absent. A tree is not safe for use by several goroutines at once.
type Tree struct {
	root Node
	size int // paths beneath the root
}
