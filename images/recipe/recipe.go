// Package recipe holds the form of a source image's recipe: what an image is
// made of, in layers, in words that each ecosystem's own client understands. A
// recipe names packages, versions, file names and hashes, never a host.
package recipe

// APIVersion is the version of the recipe files this kfdev reads.
const APIVersion = "kfdev.dev/v1alpha1"

// Recipe is one source image. Exactly the fields below are allowed in a file;
// an unknown key is an error with its line.
type Recipe struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"` // always Recipe
	Name       string `yaml:"name"` // last part of the repository: kfdev.internal/<name>
	// StandsFor is the published image this one takes the place of, with its
	// tag; empty where there is none.
	StandsFor string `yaml:"standsFor,omitempty"`
	// Note says, for people, in what this image differs from the one it stands for.
	Note string `yaml:"note,omitempty"`
	// From names a recipe whose layers come before this one's own.
	From   string  `yaml:"from,omitempty"`
	Layers []Layer `yaml:"layers"`
	Config Config  `yaml:"config,omitempty"`
}

// Layer is one layer; exactly one field is set.
type Layer struct {
	// Use names a recipe whose own layers (not those of its From) come here, the
	// same layers byte for byte as in that recipe's image.
	Use     string   `yaml:"use,omitempty"`
	Go      *Go      `yaml:"go,omitempty"`
	Debian  *Debian  `yaml:"debian,omitempty"`
	Wheels  *Wheels  `yaml:"wheels,omitempty"`
	NPM     *NPM     `yaml:"npm,omitempty"`
	Files   []File   `yaml:"files,omitempty"`
	Preload *Preload `yaml:"preload,omitempty"`
}

// Go builds static programs from modules at the versions of a go.mod that lies
// with the recipe (go.mod.txt and go.sum.txt, since a folder with a go.mod
// cannot be embedded).
type Go struct {
	Module    string      `yaml:"module"`    // folder with go.mod.txt, go.sum.txt and, where needed, small mains of our own (*.go.txt)
	Toolchain string      `yaml:"toolchain"` // exact: go1.26.8
	Programs  []GoProgram `yaml:"programs"`
	// Overlay puts files into a module that its zip lacks: key is
	// module/path/file.go, value the file of the recipe's folder, or
	// "module:path/file.go" for another file of the same build.
	Overlay map[string]string `yaml:"overlay,omitempty"`
}

// GoProgram is one program of a Go layer.
type GoProgram struct {
	Package string            `yaml:"package"` // import path
	Path    string            `yaml:"path"`    // in the image, absolute
	Tags    []string          `yaml:"tags,omitempty"`
	Set     map[string]string `yaml:"set,omitempty"`   // -X import/path.Name=value
	Links   []string          `yaml:"links,omitempty"` // symlinks to Path, absolute
}

// Debian unpacks packages of a Debian suite. Versions are resolved at lock.
type Debian struct {
	Suite    string   `yaml:"suite"`    // bookworm
	Packages []string `yaml:"packages"` // asked for; dependencies follow (Depends and Pre-Depends, no Recommends)
	// Only takes exactly Packages, with no dependency added.
	Only bool `yaml:"only,omitempty"`
	// Refuse names packages that must not be taken to satisfy a dependency.
	Refuse  []string `yaml:"refuse,omitempty"`
	Exclude []string `yaml:"exclude,omitempty"` // globs of absolute paths (under /usr where merged) left out; ** crosses folders, a leading ! takes back in
	Steps   []File   `yaml:"steps,omitempty"`   // what maintainer scripts would have made
	// Accounts makes /etc/passwd, group and shadow from base-passwd's masters and the packages' sysusers.d.
	Accounts bool `yaml:"accounts,omitempty"`
	// CABundle writes /etc/ssl/certs/ca-certificates.crt from the certificates in
	// /usr/share/ca-certificates, as ca-certificates' own script would.
	CABundle bool `yaml:"caBundle,omitempty"`
	// Status writes /var/lib/dpkg/status for the packages of this layer and those of lower Debian layers.
	Status bool `yaml:"status,omitempty"`
}

// Wheels unpacks Python wheels, by hash, in the layout of a virtual environment.
type Wheels struct {
	Lock    string   `yaml:"lock"`              // file of the recipe's folder, see images/source/wheels
	Python  string   `yaml:"python"`            // exact version that the lock was made for: 3.11.2
	Prefix  string   `yaml:"prefix"`            // absolute: /opt/venv
	Exclude []string `yaml:"exclude,omitempty"` // path globs below Prefix left out; ** crosses folders
	Only    []string `yaml:"only,omitempty"`    // path globs below Prefix that alone are taken; all where empty
}

// NPM unpacks npm packages as node_modules, by the integrity in a package-lock.json.
type NPM struct {
	Lock   string `yaml:"lock"`   // file of the recipe's folder
	Prefix string `yaml:"prefix"` // absolute folder that gets node_modules
}

// File is one file, link or folder. Exactly one of Content, From, Link and Dir is set.
type File struct {
	Path    string `yaml:"path"`           // absolute
	Mode    string `yaml:"mode,omitempty"` // octal text; 0644, 0755 for folders
	UID     int    `yaml:"uid,omitempty"`
	GID     int    `yaml:"gid,omitempty"`
	Content string `yaml:"content,omitempty"`
	From    string `yaml:"from,omitempty"` // file of the recipe's folder; or "kfdev:" for the kfdev program itself
	Link    string `yaml:"link,omitempty"`
	Dir     bool   `yaml:"dir,omitempty"`
	// Remove takes out what lower layers of packages in the same layer put at Path.
	Remove bool `yaml:"remove,omitempty"`
}

// Preload puts images of other recipes into containerd's own store
// (/var/lib/containerd), as if they had been pulled under the given names.
type Preload struct {
	Images []PreloadImage `yaml:"images"`
}

// PreloadImage is one image and the name that containerd has it under.
type PreloadImage struct {
	Recipe string `yaml:"recipe"`
	Name   string `yaml:"name"` // as kubeadm asks for it, with a tag
}

// Config is the image's run configuration (OCI image-spec config).
type Config struct {
	Entrypoint []string          `yaml:"entrypoint,omitempty"`
	Cmd        []string          `yaml:"cmd,omitempty"`
	Env        []string          `yaml:"env,omitempty"`
	User       string            `yaml:"user,omitempty"`
	WorkingDir string            `yaml:"workingDir,omitempty"`
	StopSignal string            `yaml:"stopSignal,omitempty"`
	Labels     map[string]string `yaml:"labels,omitempty"`
	Volumes    []string          `yaml:"volumes,omitempty"`
}

// Input is one exact thing that went into an image, as the lock records it.
type Input struct {
	Kind    string `yaml:"kind"` // go, deb, wheel, npm, file, toolchain, image
	Name    string `yaml:"name"` // package, module or path
	Version string `yaml:"version,omitempty"`
	File    string `yaml:"file,omitempty"` // file name, where the ecosystem has one
	Size    int64  `yaml:"size,omitempty"` // bytes, where it is known before the fetch
	Hash    string `yaml:"hash,omitempty"` // sha256:<hex>, sha512-<base64> (npm) or h1:… (Go); empty for a toolchain, and for an image until it is built
}
