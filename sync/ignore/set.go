package ignore

// setReader reads a set, as in "[a-z]", after its bracket.
type setReader struct {
	s    string
	i    int
	fold bool
	set  [256]bool
	last int // the byte before, which a range may begin with; 0: none
}

// compileSet returns a set and how long it is, with the closing bracket; -1 for
// one that is not complete.
func compileSet(s string, fold bool) (*[256]bool, int) {
	r := setReader{s: s, fold: fold}
	negative := s != "" && (s[0] == '!' || s[0] == '^')
	if negative {
		r.i++
	}
	for begin := r.i; ; {
		switch {
		case r.i >= len(s):
			return nil, -1
		case s[r.i] == ']' && r.i > begin:
			if negative {
				for b := range r.set {
					r.set[b] = !r.set[b]
				}
			}
			return &r.set, r.i + 1
		case !r.member():
			return nil, -1
		}
	}
}

// member reads what comes next in the set; false where that is not complete.
func (r *setReader) member() bool {
	next := func(c byte) bool { return r.i+1 < len(r.s) && r.s[r.i+1] == c }
	switch c := r.s[r.i]; {
	case c == '-' && r.last != 0 && r.i+1 < len(r.s) && !next(']'):
		r.i++
		return r.upTo()
	case c == '[' && next(':'):
		n, known := addClass(&r.set, r.s[r.i+2:], r.fold)
		if !known {
			return false
		}
		if n > 0 {
			r.last = 0
			r.i += 2 + n
			return true
		}
	}
	c, ok := r.char()
	r.set[c] = true
	r.last = int(c)
	return ok
}

// upTo reads the end of a range. Where case makes no difference, a letter in lower
// case is in it if the one in upper case is.
func (r *setReader) upTo() bool {
	to, ok := r.char()
	for c := r.last; c <= int(to); c++ {
		r.set[c] = true
		if r.fold {
			r.set[lowerByte(byte(c))] = true
		}
	}
	r.last = 0
	return ok
}

// char reads a character that may be escaped.
func (r *setReader) char() (byte, bool) {
	if r.s[r.i] == '\\' {
		r.i++
	}
	if r.i >= len(r.s) {
		return 0, false
	}
	r.i++
	return r.s[r.i-1], true
}
