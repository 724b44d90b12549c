// Package catalog holds the recipes that kfdev can build images from, one
// folder each, inside the program.
package catalog

import (
	"embed"
	"io/fs"
)

// Two levels are named so that this file is not part of what it embeds; below
// them, files whose names begin with a dot or an underscore are left out.
//
//go:embed */*
var embedded embed.FS

// Files returns the catalog: a folder for every recipe, with its recipe.yaml
// and the files that it names.
func Files() fs.FS { return embedded }
