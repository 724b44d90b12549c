package tfjob

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// event is one line of what the training program prints. Which fields it has
// depends on Event.
type event struct {
	Event    string         `json:"event"` // start, shard, epoch, result
	Worker   int            `json:"worker"`
	Workers  int            `json:"workers"`
	Size     int            `json:"size"`           // shard: rows
	Labels   map[string]int `json:"labels"`         // shard: rows of each digit that it has
	Epoch    int            `json:"epoch"`          // epoch: from 1
	Loss     float64        `json:"loss"`           // epoch: mean over the worker's rows
	Accuracy float64        `json:"accuracy"`       // result: on rows that nobody trained on
	HeldOut  int            `json:"held_out"`       // result: how many those are
	Weights  string         `json:"weights_sha256"` // result: of the trained parameters
}

// report is what one worker said.
type report struct {
	shard  event
	epochs []event
	result *event
}

// lineLimit bounds one line.
const lineLimit = 1 << 20

// parse reads a worker's log. Lines that are not the program's are passed over.
func parse(log io.Reader) (report, error) {
	var r report
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, lineLimit)
	for lines.Scan() {
		var e event
		if line := lines.Bytes(); len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &e) != nil {
			continue
		}
		switch e.Event {
		case "shard":
			r.shard = e
		case "epoch":
			r.epochs = append(r.epochs, e)
		case "result":
			r.result = &e
		}
	}
	return r, lines.Err()
}

// What training must reach: chance is 0.1 for ten digits, and 0.5 for a worker
// that learned its own half of them perfectly.
const (
	wantAccuracy = 0.9
	digits       = 10
)

// checkReports fails unless the workers trained as one: on shards that share
// no digit and together have all ten, to a loss that fell on every shard, and
// to the stated accuracy on all digits, which no shard can teach alone.
func checkReports(reports []report) error {
	owner := map[string]int{}
	for i, r := range reports {
		if err := checkWorker(i, r, len(reports)); err != nil {
			return err
		}
		if len(r.epochs) != len(reports[0].epochs) {
			return fmt.Errorf("worker %d trained %d epochs and worker 0 %d", i, len(r.epochs), len(reports[0].epochs))
		}
		for _, digit := range slices.Sorted(maps.Keys(r.shard.Labels)) {
			if other, ok := owner[digit]; ok {
				return fmt.Errorf("digit %s is in the shards of workers %d and %d", digit, other, i)
			}
			owner[digit] = i
		}
	}
	if len(owner) != digits {
		return fmt.Errorf("the shards together have %d of %d digits", len(owner), digits)
	}
	return checkResult(reports[0].result)
}

func checkWorker(i int, r report, workers int) error {
	rows := 0
	for _, n := range r.shard.Labels {
		rows += n
	}
	switch {
	case r.shard.Size == 0:
		return fmt.Errorf("worker %d did not tell its shard", i)
	case rows != r.shard.Size:
		return fmt.Errorf("the shard of worker %d has %d rows, and its digits %d", i, r.shard.Size, rows)
	case r.shard.Worker != i || r.shard.Workers != workers:
		return fmt.Errorf("worker %d trained as %d of %d", i, r.shard.Worker, r.shard.Workers)
	case len(r.epochs) < 2:
		return fmt.Errorf("worker %d told the loss of %d epochs", i, len(r.epochs))
	}
	for n, e := range r.epochs {
		if e.Epoch != n+1 || e.Worker != i {
			return fmt.Errorf("in the place of epoch %d, worker %d told epoch %d of worker %d", n+1, i, e.Epoch, e.Worker)
		}
	}
	if first, last := r.losses(); !(last < first/2) { // false for NaN too
		return fmt.Errorf("the loss of worker %d went from %g to %g, which is not below half", i, first, last)
	}
	return nil
}

// losses returns the loss of the first and of the last epoch.
func (r report) losses() (first, last float64) {
	return r.epochs[0].Loss, r.epochs[len(r.epochs)-1].Loss
}

func checkResult(result *event) error {
	switch {
	case result == nil:
		return errors.New("worker 0 told no result")
	case result.HeldOut < 100:
		return fmt.Errorf("the accuracy was taken on %d rows, which is too few", result.HeldOut)
	case !(result.Accuracy >= wantAccuracy && result.Accuracy <= 1):
		return fmt.Errorf("the accuracy is %g, and not %g or more", result.Accuracy, wantAccuracy)
	}
	return nil
}
