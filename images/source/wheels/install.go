package wheels

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
)

// wheelLayout names the two folders of a wheel that are not plain content.
type wheelLayout struct {
	info string // NAME-VERSION.dist-info
	data string // NAME-VERSION.data
	dist string // NAME, as the folders spell it
}

// findLayout finds the one .dist-info folder.
func findLayout(members []member) (wheelLayout, error) {
	var info string
	for _, m := range members {
		top, rest, _ := strings.Cut(m.name, "/")
		if rest != "WHEEL" || !strings.HasSuffix(top, ".dist-info") {
			continue
		}
		if info != "" {
			return wheelLayout{}, fmt.Errorf("both %s and %s", info, top)
		}
		info = top
	}
	if info == "" {
		return wheelLayout{}, errors.New("no .dist-info/WHEEL: not a wheel")
	}
	stem := strings.TrimSuffix(info, ".dist-info")
	dist, _, _ := strings.Cut(stem, "-")
	return wheelLayout{info: info, data: stem + ".data", dist: dist}, nil
}

// install lays out one wheel.
func (v *venv) install(a *archive, input recipe.Input) error {
	layout, err := findLayout(a.members)
	if err != nil {
		return err
	}
	texts, err := infoTexts(a, layout)
	if err != nil {
		return err
	}
	if err := checkIdentity(texts["METADATA"], texts["WHEEL"], input.Name, input.Version); err != nil {
		return err
	}
	recorded, err := parseRecord(texts["RECORD"])
	if err != nil {
		return err
	}
	scripts, err := parseEntryPoints(texts["entry_points.txt"])
	if err != nil {
		return err
	}
	in := installation{venv: v, archive: a, layout: layout, recorded: recorded}
	for _, m := range a.members {
		if m.name == layout.info+"/RECORD" || m.name == layout.info+"/INSTALLER" {
			continue // written anew below
		}
		if err := in.place(m); err != nil {
			return err
		}
	}
	for _, s := range scripts {
		if err := in.write("bin/"+s.name, s.text(v.interpreter()), 0o755); err != nil {
			return err
		}
	}
	return in.finish()
}

// infoTexts reads the metadata that an installation needs.
func infoTexts(a *archive, layout wheelLayout) (map[string][]byte, error) {
	texts := map[string][]byte{"METADATA": nil, "WHEEL": nil, "RECORD": nil, "entry_points.txt": nil}
	for _, m := range a.members {
		name, ok := strings.CutPrefix(m.name, layout.info+"/")
		if _, wanted := texts[name]; !ok || !wanted {
			continue
		}
		text, err := a.text(m)
		if err != nil {
			return nil, err
		}
		texts[name] = text
	}
	return texts, nil
}

// installation is one wheel being laid out.
type installation struct {
	venv     *venv
	archive  *archive
	layout   wheelLayout
	recorded record
	rows     [][3]string // of the RECORD to be
}

// place puts one file of the wheel where an installer would (sysconfig's
// "venv" scheme).
func (in *installation) place(m member) error {
	site := in.venv.sitePackages()
	rest, ok := strings.CutPrefix(m.name, in.layout.data+"/")
	if !ok {
		return in.copy(site+"/"+m.name, m)
	}
	scheme, rest, _ := strings.Cut(rest, "/")
	if rest == "" {
		return fmt.Errorf("%s: a file where a folder of the scheme is due", m.name)
	}
	switch scheme {
	case "purelib", "platlib":
		return in.copy(site+"/"+rest, m)
	case "data":
		return in.copy(rest, m)
	case "headers":
		return in.copy(path.Join("include/site", in.venv.series, in.layout.dist, rest), m)
	case "scripts":
		return in.script("bin/"+rest, m)
	}
	return fmt.Errorf("%s: unknown scheme %q", m.name, scheme)
}

// script puts in a script of the wheel; the placeholder that its first line may
// have for an interpreter is replaced by the environment's.
func (in *installation) script(name string, m member) error {
	if m.size <= maxText {
		text, err := in.archive.text(m)
		if err != nil {
			return err
		}
		if rest, ok := bytes.CutPrefix(text, []byte("#!python")); ok {
			_, rest, _ = bytes.Cut(rest, []byte("\n"))
			return in.write(name, append([]byte("#!"+in.venv.interpreter()+"\n"), rest...), 0o755)
		}
	}
	m.exec = true
	return in.copy(name, m)
}

// copy puts in a file of the wheel as it is.
func (in *installation) copy(name string, m member) error {
	if !in.venv.wants(name) {
		return nil
	}
	row := in.recorded[m.name]
	in.row(name, row[0], row[1])
	mode := fs.FileMode(0o644)
	if m.exec {
		mode = 0o755
	}
	return in.venv.put(name, in.archive.file, layer.Entry{Type: layer.File, Mode: mode, Size: m.size, Open: in.archive.opener(m)})
}

// write puts in a file that the installation makes.
func (in *installation) write(name string, content []byte, mode fs.FileMode) error {
	if !in.venv.wants(name) {
		return nil
	}
	sum := sha256.Sum256(content)
	in.row(name, "sha256="+base64.RawURLEncoding.EncodeToString(sum[:]), strconv.Itoa(len(content)))
	return in.venv.put(name, in.archive.file, bytesEntry(content, mode))
}

// row notes a file for the RECORD, whose paths start at site-packages.
func (in *installation) row(name, hash, size string) {
	site := in.venv.sitePackages() + "/"
	shown, ok := strings.CutPrefix(name, site)
	if !ok {
		shown = strings.Repeat("../", strings.Count(site, "/")) + name
	}
	in.rows = append(in.rows, [3]string{shown, hash, size})
}

// finish writes INSTALLER and RECORD.
func (in *installation) finish() error {
	folder := in.venv.sitePackages() + "/" + in.layout.info
	if err := in.write(folder+"/INSTALLER", []byte("kfdev\n"), 0o644); err != nil {
		return err
	}
	if !in.venv.wants(folder + "/RECORD") {
		return nil
	}
	content, err := writeRecord(in.rows, in.layout.info+"/RECORD")
	if err != nil {
		return err
	}
	return in.venv.put(folder+"/RECORD", in.archive.file, bytesEntry(content, 0o644))
}

func bytesEntry(content []byte, mode fs.FileMode) layer.Entry {
	return layer.Entry{Type: layer.File, Mode: mode, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// sameContent compares two entries byte for byte.
func sameContent(a, b layer.Entry) (bool, error) {
	if a.Type != b.Type || a.Link != b.Link || a.Size != b.Size {
		return false, nil
	}
	if a.Type != layer.File {
		return true, nil
	}
	var sums [2][sha256.Size]byte
	for i, e := range []layer.Entry{a, b} {
		content, err := e.Open()
		if err != nil {
			return false, err
		}
		digest := sha256.New()
		_, err = io.Copy(digest, content)
		if err := errors.Join(err, content.Close()); err != nil {
			return false, err
		}
		digest.Sum(sums[i][:0])
	}
	return sums[0] == sums[1], nil
}
