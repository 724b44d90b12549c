package tfjob

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// event is one line of what the training program prints. Which fields it has
// depends on Event.
type event struct {
	Event    string  `json:"event"` // start, shard, epoch, result
	Index    int     `json:"index"`
	Workers  int     `json:"workers"`
	Of       int     `json:"of"`       // shard: rows of the whole training set
	Rows     rowList `json:"rows"`     // shard: the numbers of the worker's rows
	Labels   []int   `json:"labels"`   // shard: how many rows of each digit
	Epoch    int     `json:"epoch"`    // epoch: from 1
	Loss     float64 `json:"loss"`     // epoch, result: mean over the rows
	Accuracy float64 `json:"accuracy"` // result: on the rows held back
	Updates  []int   `json:"updates"`  // result: how often each worker moved the parameters
}

// rowList is a list of row numbers; a plain number, as a result has it, is none.
type rowList []int

// UnmarshalJSON reads a list, and nothing of a number.
func (r *rowList) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]int)(r))
	}
	return nil
}

// report is what one worker said.
type report struct {
	shard  event
	losses []float64
	result *event
}

// lineLimit bounds one line; a shard's row numbers take some kilobytes.
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
			r.losses = append(r.losses, e.Loss)
		case "result":
			r.result = &e
		}
	}
	return r, lines.Err()
}

// What training must reach. Chance is 0.1 for ten digits.
const wantAccuracy = 0.9

// checkReports fails unless the workers trained as one: on shards of their own
// that together are the whole training set, each with every digit in it, each
// moving the parameters, to a falling loss and the stated accuracy.
func checkReports(reports []report) error {
	seen := map[int]int{}
	for i, r := range reports {
		if err := checkWorker(i, r, len(reports)); err != nil {
			return err
		}
		for _, row := range r.shard.Rows {
			if other, ok := seen[row]; ok {
				return fmt.Errorf("row %d is in the shards of workers %d and %d", row, other, i)
			}
			seen[row] = i
		}
	}
	if of := reports[0].shard.Of; len(seen) != of {
		return fmt.Errorf("the shards together have %d rows of %d", len(seen), of)
	}
	return checkResult(reports[0].result, len(reports))
}

func checkWorker(i int, r report, workers int) error {
	switch {
	case len(r.shard.Rows) == 0:
		return fmt.Errorf("worker %d did not tell its shard", i)
	case r.shard.Index != i || r.shard.Workers != workers:
		return fmt.Errorf("worker %d trained as %d of %d", i, r.shard.Index, r.shard.Workers)
	case len(r.losses) < 2:
		return fmt.Errorf("worker %d told the loss of %d epochs", i, len(r.losses))
	}
	for digit, n := range r.shard.Labels {
		if n == 0 {
			return fmt.Errorf("the shard of worker %d has no %d", i, digit)
		}
	}
	if first, last := r.losses[0], r.losses[len(r.losses)-1]; !(last < first/2) {
		return fmt.Errorf("the loss of worker %d went from %g to %g, which is not half", i, first, last)
	}
	return nil
}

func checkResult(result *event, workers int) error {
	if result == nil {
		return fmt.Errorf("worker 0 told no result")
	}
	if !(result.Accuracy >= wantAccuracy && result.Accuracy <= 1) {
		return fmt.Errorf("the accuracy is %g, below %g", result.Accuracy, wantAccuracy)
	}
	if len(result.Updates) != workers {
		return fmt.Errorf("%d workers moved the parameters, not %d", len(result.Updates), workers)
	}
	for i, n := range result.Updates {
		if n == 0 {
			return fmt.Errorf("worker %d never moved the parameters", i)
		}
	}
	return nil
}
