package render

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/stack"
)

// version is part of every key: raise it when rendering changes.
const version = "2"

// cacheKey says all that the rendered objects depend on: the sources, what the
// component says of its namespace, and the programs that render.
func cacheKey(c stack.Component, source string) string {
	h := sha256.New()
	for _, s := range []string{version, kustomizeVersion(), source, c.Name, c.Dir, c.Namespace} {
		part(h, []byte(s))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// kustomizeVersion returns the versions of kustomize that this program is
// built with; empty in tests, whose builds do not say.
func kustomizeVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var all []string
	for _, m := range info.Deps {
		if strings.HasPrefix(m.Path, "sigs.k8s.io/kustomize/") {
			all = append(all, m.Path+"@"+m.Version)
		}
	}
	return strings.Join(all, " ")
}

func recall(cache Cache, key string) []*unstructured.Unstructured {
	if cache == nil {
		return nil
	}
	data, ok := cache.Get(key)
	if !ok {
		return nil
	}
	// The content's own sum stands before it: a damaged file is as good as none.
	sum, content, ok := strings.Cut(string(data), "\n")
	if !ok || sum != digest([]byte(content)) {
		return nil
	}
	var contents []map[string]any
	if err := json.Unmarshal([]byte(content), &contents); err != nil {
		return nil
	}
	objects := make([]*unstructured.Unstructured, len(contents))
	for i, content := range contents {
		objects[i] = &unstructured.Unstructured{Object: content}
	}
	return objects
}

func remember(cache Cache, key string, objects []*unstructured.Unstructured) error {
	if cache == nil {
		return nil
	}
	contents := make([]map[string]any, len(objects))
	for i, o := range objects {
		contents[i] = o.Object
	}
	data, err := json.Marshal(contents)
	if err != nil {
		return err
	}
	return cache.Put(key, append([]byte(digest(data)+"\n"), data...))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Folder is a Cache in a folder of the user's cache. At most keep files stay,
// the ones written last.
type Folder string

// keep is how many renderings a Folder holds.
const keep = 64

// Get returns what was put under key.
func (f Folder) Get(key string) ([]byte, bool) {
	data, err := os.ReadFile(f.file(key))
	return data, err == nil
}

// Put writes data under key and drops the oldest files above what is kept.
func (f Folder) Put(key string, data []byte) error {
	if err := atomicfile.Write(f.file(key), data, 0o644); err != nil {
		return err
	}
	return f.prune()
}

func (f Folder) file(key string) string { return filepath.Join(string(f), key+".json") }

func (f Folder) prune() error {
	entries, err := os.ReadDir(string(f))
	if err != nil || len(entries) <= keep {
		return err
	}
	var oldest fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another kfdev dropped it
		}
		if err != nil {
			return err
		}
		if oldest == nil || info.ModTime().Before(oldest.ModTime()) {
			oldest = info
		}
	}
	if err := os.Remove(filepath.Join(string(f), oldest.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
