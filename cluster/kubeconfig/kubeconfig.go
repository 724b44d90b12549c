// Package kubeconfig puts one context into the user's kubeconfig and takes it
// out again, and touches nothing else there: every other entry, the current
// context unless it is asked for, comments and order stay.
//
// The files, the order in which they are looked at and the lock are those of
// kubectl and kind.
package kubeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
)

// Paths returns the kubeconfig files of an environment: those of KUBECONFIG,
// else ~/.kube/config.
func Paths(getenv func(string) string) []string {
	var paths []string
	seen := map[string]bool{}
	for _, p := range filepath.SplitList(getenv("KUBECONFIG")) {
		if p != "" && !seen[p] {
			seen[p] = true
			paths = append(paths, p)
		}
	}
	if len(paths) == 0 {
		paths = []string{filepath.Join(getenv("HOME"), ".kube", "config")}
	}
	return paths
}

// PathForMerge returns the file of Paths that a new entry goes into: the first
// that exists, else the last.
func PathForMerge(getenv func(string) string) string {
	paths := Paths(getenv)
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			return p
		}
	}
	return paths[len(paths)-1]
}

// the lists of a kubeconfig, whose elements each have a name.
func lists() []string { return []string{"clusters", "contexts", "users"} }

// One is a kubeconfig of exactly one context, whose cluster and user have the
// context's name.
type One struct {
	name string
	root *yaml.Node
}

// Rename reads a kubeconfig of one context and gives the context, its cluster
// and its user the name.
func Rename(raw []byte, name string) (One, error) {
	root, err := parse(raw)
	if err != nil {
		return One{}, fmt.Errorf("reading a new cluster's kubeconfig: %w", err)
	}
	for _, list := range lists() {
		items := get(root, list)
		if items == nil || len(items.Content) != 1 {
			return One{}, fmt.Errorf("reading a new cluster's kubeconfig: %s has not exactly one element", list)
		}
		set(items.Content[0], "name", scalar(name))
	}
	inner := get(get(root, "contexts").Content[0], "context")
	if inner == nil || inner.Kind != yaml.MappingNode {
		return One{}, errors.New("reading a new cluster's kubeconfig: its context is empty")
	}
	set(inner, "cluster", scalar(name))
	set(inner, "user", scalar(name))
	set(root, "current-context", scalar(name))
	return One{name: name, root: root}, nil
}

// Bytes renders it as a kubeconfig of its own, with its context the current one.
func (o One) Bytes() ([]byte, error) { return render(o.root) }

// Merge puts the entries of one into the file at path, in place of those of
// the same name, and makes its context the current one only when asked. The
// file is not written when it would not change. Changed says whether it was.
func Merge(path string, one One, makeCurrent bool) (changed bool, err error) {
	return edit(path, one.name, one.into(makeCurrent))
}

// Lacks reports whether Merge would change the file at path. It does not lock
// the file, and writes nothing.
func Lacks(path string, one One, makeCurrent bool) (bool, error) {
	raw, _, same, err := outcome(path, one.name, one.into(makeCurrent))
	return raw == nil || !same, err
}

// into returns the change that puts one into a kubeconfig.
func (o One) into(makeCurrent bool) func(*yaml.Node) error {
	return func(root *yaml.Node) error {
		for _, key := range []string{"apiVersion", "kind"} {
			if get(root, key) == nil && get(o.root, key) != nil {
				set(root, key, get(o.root, key))
			}
		}
		for _, list := range lists() {
			if err := upsert(root, list, o.name, get(o.root, list).Content[0]); err != nil {
				return err
			}
		}
		if makeCurrent {
			set(root, "current-context", scalar(o.name))
		}
		return nil
	}
}

// Remove takes the entries of the name out of the file at path, and unsets the
// current context when it is that one. A file that is not there is no error.
func Remove(path, name string) (changed bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return edit(path, name, func(root *yaml.Node) error {
		for _, list := range lists() {
			items, err := listOf(root, list)
			if err != nil {
				return err
			}
			if items == nil {
				continue
			}
			kept := items.Content[:0:0]
			for _, item := range items.Content {
				if nameOf(item) != name {
					kept = append(kept, item)
				}
			}
			items.Content = kept
			if len(kept) == 0 {
				items.Style = yaml.FlowStyle // "[]"
			}
		}
		if current := get(root, "current-context"); current != nil && current.Value == name {
			set(root, "current-context", scalar(""))
		}
		return nil
	})
}

// edit changes the file under its lock, unless it would mean the same after.
func edit(path, name string, change func(*yaml.Node) error) (changed bool, err error) {
	unlock, err := lock(path)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	_, out, same, err := outcome(path, name, change)
	if err != nil || same {
		return false, err
	}
	if err := write(path, out); err != nil {
		return false, &fault.Error{Op: op, Subject: path, Err: err}
	}
	return true, nil
}

const op = "editing the kubeconfig"

// outcome returns the file as it is (nil where there is none) and as the change
// makes it, and whether both mean the same. That nothing under another name
// would change is checked here.
func outcome(path, name string, change func(*yaml.Node) error) (raw, out []byte, same bool, err error) {
	fail := func(kind fault.Kind, hint string, err error) ([]byte, []byte, bool, error) {
		return nil, nil, false, &fault.Error{Op: op, Subject: path, Kind: kind, Hint: hint, Err: err}
	}
	raw, err = os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(fault.Failure, "", err)
	}
	root, err := parse(raw)
	if err == nil {
		err = change(root)
	}
	if err != nil {
		return fail(fault.Preflight, "mend the file, or point KUBECONFIG at another", err)
	}
	if out, err = render(root); err != nil {
		return fail(fault.Failure, "", err)
	}
	if same, err = compare(raw, out, name); err != nil {
		return fail(fault.Failure, "", err)
	}
	return raw, out, same, nil
}

// write keeps the mode of a file that is there, and writes through a symlink.
func write(path string, data []byte) error {
	mode := fs.FileMode(0o600)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
		if info, err := os.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
	}
	return atomicfile.Write(path, data, mode)
}

// compare reads both versions as data. Same is true when they mean the same;
// an error says that something under another name differs.
func compare(before, after []byte, name string) (same bool, err error) {
	var b, a map[string]any
	if err := yaml.Unmarshal(before, &b); err != nil {
		return false, err
	}
	if err := yaml.Unmarshal(after, &a); err != nil {
		return false, err
	}
	if reflect.DeepEqual(b, a) {
		return true, nil
	}
	if !reflect.DeepEqual(others(b, name), others(a, name)) {
		return false, fmt.Errorf("an entry other than %s would have changed; nothing was written", name)
	}
	return false, nil
}

// others is what a kubeconfig holds beside the entries of the name.
func others(config map[string]any, name string) map[string]any {
	out := map[string]any{}
	for key, value := range config {
		switch key {
		case "current-context", "apiVersion", "kind":
			continue
		}
		items, ok := value.([]any)
		if !ok && value == nil {
			continue
		}
		if !ok {
			out[key] = value
			continue
		}
		kept := []any{}
		for _, item := range items {
			if m, ok := item.(map[string]any); !ok || m["name"] != name {
				kept = append(kept, item)
			}
		}
		if len(kept) > 0 {
			out[key] = kept
		}
	}
	return out
}

func parse(raw []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	var doc yaml.Node
	err := decoder.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	case err != nil:
		return nil, err
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one document")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("the file is not a mapping")
	}
	root.HeadComment, root.FootComment = join(doc.HeadComment, root.HeadComment), join(root.FootComment, doc.FootComment)
	return root, nil
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "\n" + b
}

func render(root *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent() // as kubectl and kind write it
	if err := errors.Join(encoder.Encode(root), encoder.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
