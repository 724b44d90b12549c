package imageref

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"regexp"
)

// constant is a digest of an image or layer.
var constant = regexp.MustCompile(`sha256:[0-9a-fA-F]{64}`)

// Digests returns file:line of everything in fsys that has the form of an
// image's digest. The catalog must hold none: digests are resolved or built,
// never written by hand.
func Digests(fsys fs.FS) ([]string, error) {
	var found []string
	err := fs.WalkDir(fsys, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(bytes.NewReader(content))
		lines.Buffer(nil, len(content)+1)
		for n := 1; lines.Scan(); n++ {
			if constant.Match(lines.Bytes()) {
				found = append(found, fmt.Sprintf("%s:%d", path, n))
			}
		}
		return lines.Err()
	})
	return found, err
}
