package tree

import (
	"errors"
	"fmt"
	"strings"
)

// What a path may be. The limits are those of Linux; a peer that sends more is
// at fault.
const (
	MaxPath  = 4096 // bytes of a path
	MaxName  = 255  // bytes of one element
	MaxDepth = 256  // elements
)

// CheckPath says what is wrong with a path that a peer sent. The root is "".
// Every other path is relative, its elements are separated by single slashes,
// none of them is "." or "..", and no byte is NUL. Any other byte is allowed;
// a path need not be UTF-8.
func CheckPath(path string) error {
	if path == "" {
		return nil
	}
	if len(path) > MaxPath {
		return fmt.Errorf("a path of %d bytes, more than %d", len(path), MaxPath)
	}
	if strings.IndexByte(path, 0) >= 0 {
		return fmt.Errorf("the path %q has a NUL byte", path)
	}
	depth := 0
	for element := range strings.SplitSeq(path, "/") {
		depth++
		switch {
		case element == "":
			return fmt.Errorf("the path %q has an empty element", path)
		case element == "." || element == "..":
			return fmt.Errorf("the path %q has the element %q", path, element)
		case len(element) > MaxName:
			return fmt.Errorf("an element of %d bytes, more than %d", len(element), MaxName)
		}
	}
	if depth > MaxDepth {
		return errors.New("a path that is too deep")
	}
	return nil
}

// Parent is the path without its last element; of a path of one element, the
// root.
func Parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

// Base is the path's last element.
func Base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Join appends a name to a path.
func Join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// Under is true when path is below dir. Everything but the root is below the
// root.
func Under(path, dir string) bool {
	if dir == "" {
		return path != ""
	}
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}
