package fieldpath

import "strconv"

// selector reads what stands in brackets.
func (r *reader) selector() (Step, error) {
	r.at++
	from := r.at
	s, err := r.selected()
	if err != nil {
		return s, err
	}
	if !r.take(']') {
		return s, r.errorf(r.at, "] is wanted, not %s: a value with other characters than letters, digits and _-./: is quoted", r.seen())
	}
	if s.Kind == Index && s.Index > maxIndex {
		return s, r.errorf(from, "no list is that long")
	}
	return s, nil
}

func (r *reader) selected() (Step, error) {
	switch {
	case r.take('*'):
		return Step{Kind: All}, nil
	case r.take('='):
		v, err := r.value()
		return Step{Kind: Value, Key: v}, err
	case r.peek() == '"':
		key, err := r.quoted()
		if err != nil || r.peek() != '=' {
			return Step{Kind: Key, Key: key}, err
		}
		return r.pairs(key)
	}
	from := r.at
	key := r.run(isKeyChar)
	if key != "" && r.peek() == '=' {
		return r.pairs(key)
	}
	if n, err := strconv.Atoi(key); err == nil && n >= 0 && strconv.Itoa(n) == key {
		return Step{Kind: Index, Index: n}, nil
	}
	if key != "" {
		return Step{}, r.errorf(from, "[%s] selects nothing: write [\"%s\"] for a map's key, [name=%s] for a list's element, [=%s] for a list's value", key, key, key, key)
	}
	return Step{}, r.errorf(from, "a selector is wanted, not %s: [key=value], [=value], [\"key\"], [0] or [*]", r.seen())
}

func (r *reader) pairs(key string) (Step, error) {
	s := Step{Kind: Match}
	for {
		at := r.at
		for _, m := range s.Match {
			if m.Key == key {
				return s, r.errorf(at, "%q comes twice", key)
			}
		}
		if !r.take('=') {
			return s, r.errorf(r.at, "= and a value are wanted, not %s", r.seen())
		}
		v, err := r.value()
		if err != nil {
			return s, err
		}
		s.Match = append(s.Match, Pair{Key: key, Value: v})
		if !r.take(',') {
			return s, nil
		}
		if r.peek() == '"' {
			key, err = r.quoted()
		} else if key = r.run(isKeyChar); key == "" {
			err = r.errorf(r.at, "a key is wanted behind the comma, not %s", r.seen())
		}
		if err != nil {
			return s, err
		}
	}
}

func (r *reader) value() (string, error) {
	if r.peek() == '"' {
		return r.quoted()
	}
	v := r.run(isValueChar)
	if v == "" {
		return "", r.errorf(r.at, "a value is wanted, not %s: one with other characters than letters, digits and _-./: is quoted", r.seen())
	}
	return v, nil
}
