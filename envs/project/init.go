package project

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/yamledit"
)

//go:embed starter
var starter embed.FS

// InitOptions are what a new project is to say; what is empty is as in the
// starter.
type InitOptions struct {
	Name     string // the folder's name, made fit, where empty
	Preset   string
	Origin   Origin
	Platform Platform
}

// Made is what Init did.
type Made struct {
	Dir     string   `json:"dir" yaml:"dir"` // absolute
	Name    string   `json:"name" yaml:"name"`
	Created []string `json:"created" yaml:"created"` // files, relative to Dir, sorted
	Kept    []string `json:"kept" yaml:"kept"`       // files of the starter that were there already
}

// Init makes dir a project: a commented kfdev.yaml and starter code that
// trains. It overwrites nothing: files of the starter that are there are kept,
// and where there is a kfdev.yaml the error is a fault of kind Usage. The
// project file is written last, so that an init that was cut off can be run
// again.
func Init(dir string, options InitOptions) (Made, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Made{}, initFault(dir, fault.Failure, "", err)
	}
	if _, err := os.Lstat(filepath.Join(abs, FileName)); err == nil {
		return Made{}, initFault(abs, fault.Usage, "edit the file, or name another folder", fmt.Errorf("there is a %s already", FileName))
	}
	made := Made{Dir: abs, Name: options.Name, Created: []string{}, Kept: []string{}}
	if made.Name == "" {
		made.Name = nameFrom(filepath.Base(abs))
	}
	if err := CheckName(made.Name); err != nil {
		return Made{}, initFault(abs, fault.Usage, "give a name with --name", err)
	}
	options.Name = made.Name
	file, err := options.file()
	if err != nil {
		return Made{}, initFault(abs, fault.Usage, "", err)
	}
	if err := made.writeStarter(file); err != nil {
		return made, initFault(abs, fault.Failure, "", err)
	}
	return made, nil
}

func initFault(dir string, kind fault.Kind, hint string, err error) error {
	return &fault.Error{Op: "making a project", Subject: dir, Kind: kind, Hint: hint, Err: err}
}

// file returns the starter's kfdev.yaml with the options in it.
func (o InitOptions) file() ([]byte, error) {
	data, err := starter.ReadFile("starter/" + FileName)
	if err != nil {
		return nil, err
	}
	for _, each := range []struct {
		value string
		path  []string
	}{
		{o.Name, []string{"metadata", "name"}},
		{o.Preset, []string{"stack", "preset"}},
		{string(o.Origin), []string{"origin"}},
		{string(o.Platform), []string{"platforms", "0"}},
	} {
		if each.value == "" {
			continue
		}
		if data, err = yamledit.Set(data, each.value, each.path...); err != nil {
			return nil, err
		}
	}
	_, err = Parse(FileName, data)
	return data, err
}

// nameFrom makes a folder's name fit for a project.
func nameFrom(folder string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, folder)
	name = strings.TrimLeft(name, "-0123456789")
	return strings.TrimRight(name[:min(len(name), MaxName)], "-")
}

// writeStarter writes the starter's files, with projectFile as the last.
func (m *Made) writeStarter(projectFile []byte) error {
	err := fs.WalkDir(starter, "starter", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, "starter/")
		switch name {
		case FileName:
			return nil
		case "gitignore": // a file of its real name would act on this repository
			name = ".gitignore"
		}
		data, err := starter.ReadFile(path)
		if err != nil {
			return err
		}
		return m.write(name, data)
	})
	if err == nil {
		err = m.write(FileName, projectFile)
	}
	slices.Sort(m.Created)
	return err
}

// write makes one file, unless it is there.
func (m *Made) write(name string, data []byte) error {
	path := filepath.Join(m.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		m.Kept = append(m.Kept, name)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	m.Created = append(m.Created, name)
	return nil
}
