package ignore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/kfdev/kfdev/sync/tree"
)

// The limits of the form that crosses the wire. A set of rules that exceeds them
// can't be loaded either.
const (
	MaxBytes    = 1 << 20
	maxLists    = 1 << 14
	maxPattern  = 4096
	formVersion = 1
)

// form is the rules as they are stored: CBOR (RFC 8949) in its deterministic form.
type form struct {
	Version int        `cbor:"1,keyasint"`
	Fold    bool       `cbor:"2,keyasint,omitempty"`
	Lists   []formList `cbor:"3,keyasint,omitempty"`
	Also    []formList `cbor:"4,keyasint,omitempty"` // of another set, which ignores what it does by itself
}

type formList struct {
	Group    group  `cbor:"1,keyasint,omitempty"`
	Name     []byte `cbor:"2,keyasint"`
	Base     []byte `cbor:"3,keyasint,omitempty"`
	Lead     []byte `cbor:"4,keyasint,omitempty"`
	Patterns []byte `cbor:"5,keyasint"` // lines; one can't have a line feed in it
}

// Bytes is the rules in the form that crosses the wire and is stored. Equal rules
// give equal bytes.
func (r *Rules) Bytes() []byte {
	f := form{Version: formVersion, Fold: r.fold, Lists: r.form()}
	if r.also != nil {
		f.Also = r.also.form()
	}
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err == nil {
		var b []byte
		if b, err = enc.Marshal(f); err == nil {
			return b
		}
	}
	panic("rules can't be encoded: " + err.Error()) // a struct of integers and bytes always can
}

func (r *Rules) form() []formList {
	lists := make([]formList, 0, len(r.lists))
	for _, l := range r.lists {
		var lines bytes.Buffer
		for _, p := range l.patterns {
			lines.WriteString(p.text)
			lines.WriteByte('\n')
		}
		lists = append(lists, formList{
			Group: l.group, Name: []byte(l.name), Base: []byte(l.base), Lead: []byte(l.lead), Patterns: lines.Bytes(),
		})
	}
	return lists
}

// Parse reads what Bytes wrote. It refuses all else.
func Parse(b []byte) (*Rules, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("rules of %d bytes, more than %d", len(b), MaxBytes)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   4,
		MaxArrayElements:  maxLists,
		MaxMapPairs:       16,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("making the decoder: %w", err)
	}
	var f form
	if err := dec.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("rules that can't be read: %w", err)
	}
	if f.Version != formVersion {
		return nil, fmt.Errorf("rules of version %d; this kfdev reads version %d", f.Version, formVersion)
	}
	r, err := f.rules(f.Lists)
	if err == nil && len(f.Also) > 0 {
		r.also, err = f.rules(f.Also)
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(r.Bytes(), b) {
		return nil, errors.New("rules that are not in their one form")
	}
	return r, nil
}

func (f *form) rules(of []formList) (*Rules, error) {
	var lists []*list
	for i := range of {
		l, err := of[i].list(f.Fold)
		if err != nil {
			return nil, err
		}
		lists = append(lists, l)
	}
	if err := ordered(lists); err != nil {
		return nil, err
	}
	return newRules(f.Fold, lists), nil
}

func (f *formList) list(fold bool) (*list, error) {
	l := &list{group: f.Group, name: string(f.Name), base: string(f.Base), lead: string(f.Lead)}
	if l.group >= groups {
		return nil, fmt.Errorf("rules of the kind %d", l.group)
	}
	if err := tree.CheckPath(l.base); err != nil {
		return nil, fmt.Errorf("rules for %w", err)
	}
	if l.lead != "" {
		lead, ok := strings.CutSuffix(l.lead, "/")
		if err := tree.CheckPath(lead); err != nil || !ok || lead == "" || l.base != "" {
			return nil, errors.New("rules of a folder above the root whose place is not clear")
		}
	}
	for line := range strings.Lines(string(f.Patterns)) {
		text, _ := strings.CutSuffix(line, "\n")
		if text == "" || text[0] == '#' || strings.IndexByte(text, 0) >= 0 || trimSpaces(text) != text {
			return nil, fmt.Errorf("%q, which is no pattern", text)
		}
		l.patterns = append(l.patterns, newPattern(text, fold))
	}
	return l, l.check()
}

// check holds a list to the limits.
func (l *list) check() error {
	if len(l.name) > tree.MaxPath {
		return errors.New("a rule file with a name that is too long")
	}
	for i := range l.patterns {
		if n := len(l.patterns[i].text); n > maxPattern {
			return fmt.Errorf("%s has a pattern of %d bytes, more than %d", l.name, n, maxPattern)
		}
	}
	return nil
}

// ordered makes sure that what counts less comes first. Load writes it so.
func ordered(lists []*list) error {
	for i := 1; i < len(lists); i++ {
		a, b := lists[i-1], lists[i]
		if a.group > b.group || a.group == b.group && a.base > b.base ||
			a.group == b.group && a.base == b.base && len(a.lead) <= len(b.lead) {
			return errors.New("rules that are not in order")
		}
	}
	return nil
}
