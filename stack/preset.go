package stack

import (
	"fmt"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// Preset is a named set of components.
type Preset struct {
	Name       string
	Title      string   // one line for people
	Components []string // names, in the catalog
}

// Presets returns every preset, smallest first.
func Presets() []Preset {
	return []Preset{
		{Name: "tiny", Title: "a cluster with volumes", Components: []string{"storage"}},
		{Name: "core", Title: "notebooks, distributed training, workflows and teams",
			Components: []string{"storage", "training-operator", "jupyterhub", "argo-workflows", "profile-controller"}},
	}
}

// PresetByName returns the preset of that name; a fault of kind Usage names
// those there are.
func PresetByName(name string) (Preset, error) {
	var names []string
	for _, p := range Presets() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	hint := "the presets are " + strings.Join(names, ", ")
	if near := strictyaml.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return Preset{}, &fault.Error{Op: "choosing a preset", Subject: name, Kind: fault.Usage, Hint: hint, Err: fmt.Errorf("there is no such preset")}
}
