package ignore

// op is what a part of a glob matches.
type op uint8

const (
	opByte     op = iota // this byte
	opAny                // any byte but a slash
	opSet                // one of these bytes
	opStar               // any bytes but slashes
	opStarStar           // any bytes
	opFolders            // nothing, or any bytes with a slash at their end
)

type part struct {
	op  op
	lit byte
	set *[256]bool
}

// glob is a pattern with wildcards, ready to be matched. It does what git's
// wildmatch does, whose finer points are:
//
//   - Two or more stars cross slashes only where they stand between slashes or at
//     an end of the pattern; elsewhere they are one star. Between slashes they
//     stand for no folder too, but not before an escaped slash.
//   - In a set, "]" is itself where it comes first, and "-" where it comes first or
//     last, or after a range or a class. A set never matches a slash.
//   - A pattern that is not complete, with a set that is not closed or an unknown
//     class or a backslash at its end, matches nothing.
//   - Where case makes no difference, text and pattern are in lower case, except
//     for single letters in sets: "[A]" matches nothing then.
type glob struct {
	parts []part
	bad   bool
	fold  bool
}

// compile makes a glob. In a path, stars and the like stop at slashes; a name has
// none.
func compile(s string, path, fold bool) *glob {
	g := &glob{fold: fold}
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case '\\':
			if i+1 == len(s) {
				return &glob{bad: true}
			}
			// An escaped letter in upper case is not made lower by git.
			g.parts = append(g.parts, part{op: opByte, lit: s[i+1]})
			i += 2
		case '?':
			g.parts = append(g.parts, part{op: opAny})
			i++
		case '*':
			i = g.stars(s, i, path)
		case '[':
			set, n := compileSet(s[i+1:], fold)
			if n < 0 {
				return &glob{bad: true}
			}
			set['/'] = false
			g.parts = append(g.parts, part{op: opSet, set: set})
			i += 1 + n
		default:
			if fold {
				c = lowerByte(c)
			}
			g.parts = append(g.parts, part{op: opByte, lit: c})
			i++
		}
	}
	return g
}

// stars adds what the stars at s[i] stand for and returns where they end.
func (g *glob) stars(s string, i int, path bool) int {
	end := i
	for end < len(s) && s[end] == '*' {
		end++
	}
	rest := s[end:]
	before := i == 0 || s[i-1] == '/'
	switch {
	case !path || end-i == 1 || !before:
		g.parts = append(g.parts, part{op: opStar})
	case rest == "" || len(rest) > 1 && rest[0] == '\\' && rest[1] == '/':
		g.parts = append(g.parts, part{op: opStarStar})
	case rest[0] == '/':
		g.parts = append(g.parts, part{op: opFolders})
		end++
	default:
		g.parts = append(g.parts, part{op: opStar})
	}
	return end
}

// match is true when the glob matches all of the text. It goes back to the last
// star that it passed, and where that can't take more, to the last one that
// crosses slashes: what an earlier one could take, the later one can too.
func (g *glob) match(text string) bool {
	if g.bad {
		return false
	}
	const never = -1
	p, t := 0, 0
	starP, starT := never, 0     // the part after the last star, and where its text ends
	acrossP, acrossT := never, 0 // the same for one that crosses slashes
	for {
		if p < len(g.parts) {
			switch q := &g.parts[p]; q.op {
			case opStar:
				p++
				starP, starT = p, t
				continue
			case opStarStar, opFolders:
				p++
				acrossP, acrossT = p, t
				starP = never
				continue
			default:
				if t < len(text) && q.takes(text[t], g.fold) {
					p++
					t++
					continue
				}
			}
		} else if t == len(text) {
			return true
		}
		switch {
		case starP != never && starT < len(text) && text[starT] != '/':
			starT++
			p, t = starP, starT
		case acrossP != never:
			acrossT = g.further(acrossP, acrossT, text)
			if acrossT < 0 {
				return false
			}
			starP = never
			p, t = acrossP, acrossT
		default:
			return false
		}
	}
}

// further is the next place where a star that crosses slashes may end.
func (g *glob) further(p, t int, text string) int {
	for t < len(text) {
		t++
		if g.parts[p-1].op == opStarStar || text[t-1] == '/' {
			return t
		}
	}
	return -1
}

func (q *part) takes(c byte, fold bool) bool {
	if fold {
		c = lowerByte(c)
	}
	switch q.op {
	case opByte:
		return c == q.lit
	case opAny:
		return c != '/'
	default:
		return q.set[c]
	}
}
