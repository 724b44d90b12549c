package notebook

import (
	"slices"
	"strings"
)

// spot is where in the notebooks a field is.
type spot struct {
	of                place
	id                string
	atLocal, atRemote int
	path              []string
}

func (s spot) below(key string) spot {
	s.path = append(slices.Clone(s.path), key)
	return s
}

// remoteWins is true where the remote's version counts when both sides changed
// it: noise, and what tells of the kernel, which runs there.
func (s spot) remoteWins() bool {
	if len(s.path) == 1 {
		return s.path[0] == "id" || s.of == ofNotebook && s.path[0] == "orig_nbformat"
	}
	if s.path[0] != "metadata" {
		return false
	}
	return isNoise(s.path[1], s.of) || s.of == ofNotebook && (s.path[1] == "kernelspec" || s.path[1] == "language_info")
}

func (m *merger) conflict(s spot, why string) {
	m.conflicts = append(m.conflicts, CellConflict{ID: s.id, Local: s.atLocal, Remote: s.atRemote, Why: why})
}

// object merges two versions of an object key by key. What they say the same is
// written as the remote has it.
func (m *merger) object(base, local, remote *value, at spot, except ...string) *value {
	edits := map[string]*value{}
	for _, side := range []*value{local, remote} {
		for _, key := range side.keys {
			if _, done := edits[key]; !done && !slices.Contains(except, key) {
				edits[key] = m.three(base.get(key), local.get(key), remote.get(key), at.below(key))
			}
		}
	}
	return remote.edited(edits)
}

// three merges two versions of a field.
func (m *merger) three(base, local, remote *value, at spot) *value {
	switch {
	case equal(local, remote), equal(base, local):
		return remote
	case equal(base, remote):
		return local
	case local != nil && remote != nil && local.kind == object && remote.kind == object:
		return m.object(base, local, remote, at)
	case !at.remoteWins():
		m.conflict(at, strings.Join(at.path, " ")+" changed on both sides")
	}
	return remote
}

// mergeCell is the cell that comes of three; nil where it goes away.
func (m *merger) mergeCell(t *trio) *value {
	b, l, r := t.base, t.local, t.remote
	at := spot{atLocal: t.atLocal, atRemote: t.atRemote}
	for _, c := range []*cell{r, l, b} {
		if c != nil && at.id == "" {
			at.id = c.id
		}
	}
	switch {
	case b == nil && l == nil:
		return r.root
	case b == nil && r == nil:
		return l.root
	case b == nil:
		b = &cell{root: emptyObject(), kind: r.kind, source: l.source}
		if l.source != r.source {
			m.sourceConflict(t, at, "the cell was created on both sides with different source")
			return nil
		}
	case l == nil && !worked(b, r), r == nil && !worked(b, l):
		return nil
	case l == nil:
		m.sourceConflict(t, at, "the cell was deleted locally, and changed remotely")
		return nil
	case r == nil:
		m.sourceConflict(t, at, "the cell was deleted remotely, and changed locally")
		return nil
	}
	v := m.object(b.root, l.root, r.root, at, "source", "outputs", "execution_count")
	return m.outputs(b, l, r, m.source(t, b, v, at))
}

// worked is true where a person changed a cell: more than its outputs and noise.
func worked(base, now *cell) bool {
	return base.kind != now.kind || base.source != now.source ||
		!equal(base.root.get("attachments"), now.root.get("attachments")) ||
		!equal(quietMetadata(base.root.get("metadata"), ofCell), quietMetadata(now.root.get("metadata"), ofCell))
}

func (m *merger) sourceConflict(t *trio, at spot, why string) {
	c := CellConflict{ID: at.id, Local: at.atLocal, Remote: at.atRemote, Why: why}
	for _, side := range []struct {
		cell *cell
		to   *string
	}{{t.base, &c.BaseSource}, {t.local, &c.LocalSource}, {t.remote, &c.RemoteSource}} {
		if side.cell != nil {
			*side.to = side.cell.source
		}
	}
	m.conflicts = append(m.conflicts, c)
}

// source puts the merged source into a merged cell.
func (m *merger) source(t *trio, b *cell, v *value, at spot) *value {
	l, r := t.local, t.remote
	switch {
	case l.source == r.source, b.source == l.source:
		return v.with("source", r.root.get("source"))
	case b.source == r.source:
		return v.with("source", l.root.get("source"))
	}
	merged, ok := m.mergeText(b.source, l.source, r.source)
	if !ok {
		m.sourceConflict(t, at, "the source was changed on both sides, in the same lines")
		return v
	}
	return withSource(v, merged)
}

// outputs puts outputs and their count into a merged cell, both of one side:
// the local's where the remote's are as they were, and else the remote's.
func (m *merger) outputs(b, l, r *cell, v *value) *value {
	from := r
	if equal(b.root.get("outputs"), r.root.get("outputs")) && equal(b.root.get("execution_count"), r.root.get("execution_count")) {
		from = l
	}
	// A cell that became another kind has what that kind has: a text has no outputs.
	if kind := v.get("cell_type").text; l.kind != r.kind && kind != "code" {
		if from = r; l.kind == kind {
			from = l
		}
	}
	return v.edited(map[string]*value{
		"outputs":         from.root.get("outputs"),
		"execution_count": from.root.get("execution_count"),
	})
}
