package ignore

import "strings"

// IsCache is true for what the Defaults ignore and any program makes again by
// itself: it goes with the folder that it is in. Editors' files are not of it,
// which may hold somebody's work, nor the caches of a home folder, which may be
// what a day was spent to download.
func IsCache(path string, dir bool) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if dir {
		return name == "__pycache__" || name == ".ipynb_checkpoints"
	}
	return name == ".DS_Store" || strings.HasSuffix(name, ".pyc")
}
