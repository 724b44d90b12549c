package gomod

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/recipe"
)

// parseSum returns the modules whose content a go.sum holds hashes of, sorted
// as the file is not bound to be: one input a module and version. The lines
// about go.mod files alone are checked and left out.
func parseSum(raw []byte) ([]recipe.Input, error) {
	var inputs []recipe.Input
	seen := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: not module, version and hash", n)
		}
		module, version, hash := fields[0], fields[1], fields[2]
		if err := checkHash(hash); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		key := module + " " + version
		if before, ok := seen[key]; ok {
			if before != hash {
				return nil, fmt.Errorf("line %d: %s has two hashes", n, key)
			}
			continue
		}
		seen[key] = hash
		if !strings.HasSuffix(version, "/go.mod") {
			inputs = append(inputs, recipe.Input{Kind: Kind, Name: module, Version: version, Hash: hash})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(inputs, func(a, b recipe.Input) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Version, b.Version)
	})
	return inputs, nil
}

func checkHash(hash string) error {
	encoded, ok := strings.CutPrefix(hash, "h1:")
	if !ok {
		return fmt.Errorf("hash %q is of no kind that is known", hash)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != sha256.Size {
		return fmt.Errorf("hash %q is no h1", hash)
	}
	return nil
}

// hashDir returns the h1 hash of a module's files in dir, as the go command
// defines it for the module's zip: the sha256 of a listing of sha256 sums, with
// every name below module@version, in order of the names.
func hashDir(dir, module, version string) (string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return "", err
	}
	// The order is that of the whole names; the prefix is common to all.
	slices.Sort(names)
	all := sha256.New()
	for _, name := range names {
		if strings.Contains(name, "\n") {
			return "", errors.New("a line break in a file's name")
		}
		sum, err := hashFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return "", err
		}
		if _, err := fmt.Fprintf(all, "%x  %s@%s/%s\n", sum, module, version, name); err != nil {
			return "", err
		}
	}
	return "h1:" + base64.StdEncoding.EncodeToString(all.Sum(nil)), nil
}

func hashFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return sum.Sum(nil), errors.Join(err, f.Close())
}
