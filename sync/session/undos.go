package session

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/sync/endpoint"
)

// undosName is a file in a session's state folder: the batches of both sides, one
// order. The two trashes know no order among each other but that of two clocks.
const undosName = "undos.json"

// undoable is a batch that a side can bring back.
type undoable struct {
	Side  string `json:"side"`
	Batch string `json:"batch"`
}

// undos are the batches that can be brought back, the newest last.
type undos struct {
	file    string
	order   []undoable
	changed bool
	saving  bool
	saved   time.Time
}

// loadUndos reads what an earlier run wrote down. What can't be read is not known.
func loadUndos(dir string) undos {
	u := undos{file: filepath.Join(dir, undosName)}
	text, err := os.ReadFile(u.file)
	if err != nil || json.Unmarshal(text, &u.order) != nil {
		u.order = nil
	}
	return u
}

// add notes a batch that was just made.
func (u *undos) add(one undoable) {
	u.drop(one.Side, one.Batch) // the folder may have named it before its outcome was here
	u.order = append(u.order, one)
	if len(u.order) > 4*endpoint.MaxBatches {
		u.order = slices.Delete(u.order, 0, 2*endpoint.MaxBatches)
	}
	u.changed = true
}

// drop forgets a batch that was used, or where none is named all of a side.
func (u *undos) drop(side, batch string) {
	u.order = slices.DeleteFunc(u.order, func(one undoable) bool {
		return one.Side == side && (batch == "" || one.Batch == batch)
	})
	u.changed = true
}

// of are the batches of one side, the newest last.
func (u *undos) of(side string) []string {
	var batches []string
	for _, one := range u.order {
		if one.Side == side {
			batches = append(batches, one.Batch)
		}
	}
	return batches
}

// settle takes what the two folders say they can bring back, each the newest last.
// What was seen as it was made has its place; for what was not, as where the
// connection was lost, the names tell, which are times.
func (u *undos) settle(here, there []string) {
	place := map[undoable]int{} // from 1 on
	for i, one := range u.order {
		place[one] = i + 1
	}
	sides := [2]string{local, remote}
	left := [2][]string{here, there}
	last := func(k int) (one undoable, known bool, after int) {
		all := left[k]
		one = undoable{sides[k], all[len(all)-1]}
		for _, batch := range slices.Backward(all) {
			if at := place[undoable{sides[k], batch}]; at > 0 {
				return one, batch == one.Batch, at // it is no older than that
			}
		}
		return one, false, 0
	}
	var order []undoable
	for len(left[0])+len(left[1]) > 0 {
		k := 0
		switch {
		case len(left[0]) == 0:
			k = 1
		case len(left[1]) == 0:
		default:
			a, aKnown, aAfter := last(0)
			b, bKnown, bAfter := last(1)
			later := a.Batch < b.Batch
			if bKnown && aAfter > bAfter {
				later = false
			} else if aKnown && bAfter > aAfter {
				later = true
			}
			if later {
				k = 1
			}
		}
		n := len(left[k]) - 1
		order = append(order, undoable{sides[k], left[k][n]})
		left[k] = left[k][:n]
	}
	slices.Reverse(order)
	if !slices.Equal(order, u.order) {
		u.order, u.changed = order, true
	}
}

// save writes the order down.
func (u *undos) save() error {
	if !u.changed {
		return nil
	}
	u.changed, u.saved = false, time.Now()
	text, err := json.Marshal(u.order)
	if err != nil {
		return err
	}
	return atomicfile.Write(u.file, text, 0o600)
}

// saveUndos does so beside the loop, at times. What a crash keeps from being
// written has its time.
func (l *loop) saveUndos() {
	u := &l.undos
	if !u.changed || u.saving || time.Since(u.saved) < saveAfter {
		return
	}
	u.saving, u.changed = true, false
	now := undos{file: u.file, order: slices.Clone(u.order), changed: true}
	l.work.Go(func() {
		err := now.save()
		l.post(func() {
			u.saving, u.saved = false, time.Now()
			u.changed = u.changed || err != nil
		})
	})
}
