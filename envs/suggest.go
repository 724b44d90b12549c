package envs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
)

// WriteSuggested puts entries at the end of the project's differences, each
// with its reason and owner to be filled in: until they are, the file is
// refused with their places. Every other byte stays as it is.
func (e *Engine) WriteSuggested(entries []difference.Entry) error {
	path := filepath.Join(e.file.Dir, project.FileName)
	data, err := os.ReadFile(path)
	if err == nil {
		data, err = withEntries(data, entries)
	}
	if err == nil {
		err = atomicfile.Write(path, data, 0o644)
	}
	if err != nil {
		return &fault.Error{Op: "writing the suggested differences", Subject: e.file.Path, Err: err,
			Hint: "put them in by hand: kfdev diff -o yaml prints them under suggested"}
	}
	return nil
}

// withEntries appends entries to a project file's text.
func withEntries(data []byte, entries []difference.Entry) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no mapping")
	}
	text, err := difference.YAML(entries)
	if err != nil {
		return nil, err
	}
	out := strings.TrimRight(string(data), "\n") + "\n"
	root := doc.Content[0].Content
	for i := 0; i < len(root); i += 2 {
		if root[i].Value != "differences" {
			continue
		}
		list := root[i+1]
		switch {
		case i+2 != len(root):
			return nil, errors.New("other keys come after its differences")
		case list.Kind != yaml.SequenceNode || list.Style&yaml.FlowStyle != 0 || len(list.Content) == 0:
			return nil, errors.New("its differences are no list with an item on each line")
		}
		indent := strings.Repeat(" ", max(list.Column-1, 0))
		return checked(out+indented(text, indent), len(list.Content)+len(entries))
	}
	return checked(out+"differences:\n"+indented(text, "  "), len(entries))
}

func indented(text, indent string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			b.WriteString(indent)
		}
		b.WriteString(line)
	}
	return b.String()
}

// checked reads what was written again.
func checked(text string, entries int) ([]byte, error) {
	var back struct {
		Differences []yaml.Node `yaml:"differences"`
	}
	if err := yaml.Unmarshal([]byte(text), &back); err != nil {
		return nil, err
	}
	if len(back.Differences) != entries {
		return nil, fmt.Errorf("it would have %d differences, not %d", len(back.Differences), entries)
	}
	return []byte(text), nil
}
