// Package chunk cuts large files into pieces by their content, so that a
// change in the middle changes only the pieces around it (content-defined
// chunking, FastCDC: Xia et al., USENIX ATC 2016).
package chunk

import "crypto/sha256"

// Threshold is the size in bytes from which a file is transferred in chunks.
const Threshold = 1 << 20

// ID is the SHA-256 of a chunk's bytes.
type ID [sha256.Size]byte

// Chunk is a part of a file.
type Chunk struct {
	ID     ID
	Offset int64
	Size   int
}
