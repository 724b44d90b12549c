package notebook

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// written is a notebook as JupyterLab 4 writes it.
const written = `{
 "cells": [
  {
   "cell_type": "markdown",
   "id": "5f2c01aa",
   "metadata": {},
   "source": [
    "# Fraud — die Übersicht\n",
    "\n",
    "Données: \"2024\", 日本, 😀 and a tab\there"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": 1,
   "id": "0b9d77e1",
   "metadata": {
    "collapsed": false,
    "tags": [
     "parameters"
    ]
   },
   "outputs": [
    {
     "name": "stdout",
     "output_type": "stream",
     "text": [
      "\u001b[31mred\u001b[0m\n",
      "done\n"
     ]
    }
   ],
   "source": [
    "import pandas as pd\n",
    "rate = 1e-05\n",
    "\n",
    "df = pd.read_csv('a.csv')"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "id": "c41e9d20",
   "metadata": {},
   "outputs": [
    {
     "data": {
      "application/json": {
       "big": 12345678901234567890,
       "inf": -Infinity,
       "nan": NaN,
       "x": 1.0
      },
      "text/plain": [
       "<IPython.core.display.JSON object>"
      ]
     },
     "execution_count": null,
     "metadata": {},
     "output_type": "execute_result"
    }
   ],
   "source": []
  }
 ],
 "metadata": {
  "kernelspec": {
   "display_name": "Python 3 (ipykernel)",
   "language": "python",
   "name": "python3"
  },
  "language_info": {
   "name": "python",
   "version": "3.11.9"
  }
 },
 "nbformat": 4,
 "nbformat_minor": 5
}
`

// sheet is a notebook in short, for tests.
type sheet struct {
	cells    []page
	metadata string
	minor    int
}

type page struct {
	id, kind, source, output, metadata string
	count                              int
}

func code(id, source string) page { return page{id: id, kind: "code", source: source} }

func (p page) ran(count int, output string) page {
	p.count, p.output = count, output
	return p
}

func (p page) with(metadata string) page {
	p.metadata = metadata
	return p
}

func book1(cells ...page) sheet { return sheet{cells: cells, minor: 5} }

func (s sheet) value() *value {
	object := func(pairs ...any) *value {
		fields := map[string]*value{}
		for i := 0; i < len(pairs); i += 2 {
			fields[pairs[i].(string)], _ = pairs[i+1].(*value)
		}
		return emptyObject().edited(fields)
	}
	number := func(n int) *value { return &value{kind: literal, text: fmt.Sprint(n)} }
	metadata := func(s string) *value {
		if s == "" {
			s = "{}"
		}
		v, err := parse([]byte(s))
		if err != nil {
			panic(err)
		}
		return v
	}
	cells := &value{kind: list}
	for _, p := range s.cells {
		lines := &value{kind: list}
		for _, line := range splitLines(p.source) {
			lines.items = append(lines.items, textOf(line))
		}
		c := object("cell_type", textOf(p.kind), "metadata", metadata(p.metadata), "source", lines)
		if p.id != "" {
			c = c.with("id", textOf(p.id))
		}
		if p.kind == "code" {
			outputs, count := &value{kind: list}, &value{kind: literal, text: "null"}
			if p.count > 0 {
				count = number(p.count)
			}
			if p.output != "" {
				outputs.items = append(outputs.items, object("name", textOf("stdout"), "output_type", textOf("stream"), "text", textOf(p.output)))
			}
			c = c.edited(map[string]*value{"outputs": outputs, "execution_count": count})
		}
		cells.items = append(cells.items, c)
	}
	return object("cells", cells, "metadata", metadata(s.metadata), "nbformat", number(4), "nbformat_minor", number(s.minor))
}

func (s sheet) bytes() []byte { return encode(s.value()) }

// brief is a notebook as one line for each cell.
func brief(t *testing.T, data []byte) string {
	t.Helper()
	b, err := read(data)
	require.NoError(t, err)
	var lines []string
	for _, c := range b.cells {
		line := strings.ReplaceAll(c.source, "\n", ";")
		if id := c.root.get("id"); id != nil {
			line = id.text + " " + line
		}
		if outputs := c.root.get("outputs"); outputs != nil && len(outputs.items) > 0 {
			output, _ := outputs.items[0].get("text").joined()
			line += fmt.Sprintf(" [%s]=%s", c.root.get("execution_count").text, output)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " | ")
}

// randomSheet is an edited copy of a notebook.
func (s sheet) edited(rnd *rand.Rand, edits int) sheet {
	s.cells = append([]page(nil), s.cells...)
	for range edits {
		at := rnd.IntN(len(s.cells) + 1)
		if op := rnd.IntN(8); op < 2 || at == len(s.cells) {
			p := page{kind: []string{"code", "code", "markdown"}[rnd.IntN(3)], source: lines(rnd)}
			if s.minor >= 5 {
				p.id = fmt.Sprintf("%08x", rnd.Uint32())
			}
			s.cells = append(s.cells[:at], append([]page{p}, s.cells[at:]...)...)
			continue
		}
		p := s.cells[at]
		switch rnd.IntN(6) {
		case 0:
			s.cells = append(s.cells[:at:at], s.cells[at+1:]...)
			continue
		case 1: // moved
			s.cells = append(s.cells[:at:at], s.cells[at+1:]...)
			to := rnd.IntN(len(s.cells) + 1)
			s.cells = append(s.cells[:to:to], append([]page{p}, s.cells[to:]...)...)
			continue
		case 2:
			p.source = lines(rnd)
		case 3:
			p.metadata = fmt.Sprintf(`{"collapsed":%v,"tags":["t%d"]}`, rnd.IntN(2) == 0, rnd.IntN(3))
		case 4:
			p.metadata = fmt.Sprintf(`{"scrolled":%v}`, rnd.IntN(2) == 0)
		default:
			p.count, p.output = rnd.IntN(9)+1, lines(rnd)
		}
		s.cells[at] = p
	}
	if rnd.IntN(5) == 0 {
		s.metadata = fmt.Sprintf(`{"kernelspec":{"display_name":"P%d","name":"python3"},"title":"t%d"}`, rnd.IntN(3), rnd.IntN(3))
	}
	return s
}

func lines(rnd *rand.Rand) string {
	var s []string
	for range rnd.IntN(4) {
		s = append(s, fmt.Sprintf("x%d = %d", rnd.IntN(3), rnd.IntN(3)))
	}
	return strings.Join(s, "\n")
}

func randomSheet(rnd *rand.Rand) sheet {
	return sheet{minor: []int{4, 5}[rnd.IntN(2)]}.edited(rnd, rnd.IntN(12))
}

// each runs a property with random notebooks for a while.
func each(t *testing.T, property func(t *testing.T, rnd *rand.Rand)) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	until := time.Now().Add(400 * time.Millisecond)
	for i := uint64(0); i < 100 || time.Now().Before(until); i++ {
		property(t, rand.New(rand.NewPCG(seed, i)))
		if t.Failed() {
			t.Fatalf("seed %d, %d", seed, i)
		}
	}
}
