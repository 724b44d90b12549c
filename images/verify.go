package images

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrContent is in the chain of every error about bytes that are not what
// their digest or size says.
var ErrContent = errors.New("content is not what its digest says")

// Verify wraps content so that a reader that reads to the end gets an error,
// with ErrContent in its chain, in place of io.EOF unless size and digest are
// desc's. Not one byte beyond desc.Size is handed out. Only sha256 is known.
func Verify(content io.ReadCloser, desc v1.Descriptor) io.ReadCloser {
	return &verified{content: content, desc: desc, sum: sha256.New(), left: desc.Size}
}

// CheckManifest returns an error with ErrContent in its chain unless raw has
// the given digest.
func CheckManifest(raw []byte, want v1.Hash) error {
	sum := sha256.Sum256(raw)
	if got := (v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}); got != want {
		return fmt.Errorf("%w: wanted %s, got %s of %d bytes", ErrContent, want, got, len(raw))
	}
	return nil
}

type verified struct {
	content io.ReadCloser
	desc    v1.Descriptor
	sum     hash.Hash
	left    int64
	err     error // what every Read after the first error returns
}

// Read hands out at most what is left, and asks for one byte more than the
// size at the end, so that content that goes on is seen.
func (v *verified) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	if v.left == 0 {
		return 0, v.end()
	}
	if int64(len(p)) > v.left {
		p = p[:v.left]
	}
	n, err := v.content.Read(p)
	v.sum.Write(p[:n])
	v.left -= int64(n)
	if err != nil && v.left > 0 {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %s ended after %d of %d bytes", ErrContent, v.desc.Digest, v.desc.Size-v.left, v.desc.Size)
		}
		v.err = err
	}
	return n, v.err
}

// end checks what was read once all of it is there, and remembers the verdict.
func (v *verified) end() error {
	var probe [1]byte
	n, err := io.ReadFull(v.content, probe[:])
	switch {
	case n > 0:
		v.err = fmt.Errorf("%w: %s goes on after its %d bytes", ErrContent, v.desc.Digest, v.desc.Size)
	case !errors.Is(err, io.EOF):
		v.err = err
	case v.desc.Digest.Algorithm != "sha256":
		v.err = fmt.Errorf("%w: digest algorithm %q is not known", ErrContent, v.desc.Digest.Algorithm)
	default:
		if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.desc.Digest.Hex {
			v.err = fmt.Errorf("%w: wanted %s, got sha256:%s", ErrContent, v.desc.Digest, got)
		} else {
			v.err = io.EOF
		}
	}
	return v.err
}

// Close closes the content.
func (v *verified) Close() error { return v.content.Close() }
