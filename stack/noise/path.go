package noise

import (
	"fmt"
	"strconv"
	"strings"
)

// Path leads to fields of an object: spec/ports[*]/nodePort,
// metadata/annotations["kubectl.kubernetes.io/restartedAt"]. A key of other
// characters than letters, digits, _ and - is quoted; [*] is every element of a
// list or every value of a map; [name=x] the elements that have that scalar;
// ["prefix*"] every key that begins so.
type Path []Step

// Step is one step down.
type Step struct {
	Key    string // of a map; of an element's scalar where Value is set
	Value  string // of the scalar
	Match  bool   // an element with a scalar
	All    bool   // every element, every value
	Prefix bool   // every key that begins with Key
}

// ParsePath reads a path.
func ParsePath(text string) (Path, error) {
	var out Path
	rest := text
	for rest != "" {
		step, left, err := parseStep(rest, len(out) == 0)
		if err != nil {
			return nil, fmt.Errorf("%w, at character %d", err, len(text)-len(rest)+1)
		}
		out, rest = append(out, step), left
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the path is empty")
	}
	return out, nil
}

func parseStep(text string, first bool) (Step, string, error) {
	if text[0] == '[' {
		if first {
			return Step{}, "", fmt.Errorf("a path begins with a field's name")
		}
		return parseSelect(text)
	}
	if !first {
		if text[0] != '/' {
			return Step{}, "", fmt.Errorf("a slash or a bracket is wanted; a key with other characters than letters, digits, _ and - is written [\"key\"]")
		}
		text = text[1:]
	}
	n := 0
	for n < len(text) && isKeyChar(text[n]) {
		n++
	}
	if n == 0 {
		return Step{}, "", fmt.Errorf("a field's name is wanted")
	}
	return Step{Key: text[:n]}, text[n:], nil
}

func parseSelect(text string) (Step, string, error) {
	if rest, ok := strings.CutPrefix(text, "[*]"); ok {
		return Step{All: true}, rest, nil
	}
	if strings.HasPrefix(text, `["`) {
		quoted, err := strconv.QuotedPrefix(text[1:])
		if err != nil {
			return Step{}, "", fmt.Errorf("the quote has no end")
		}
		key, err := strconv.Unquote(quoted)
		rest, closed := strings.CutPrefix(text[1+len(quoted):], "]")
		if err != nil || !closed || key == "" || key == "*" {
			return Step{}, "", fmt.Errorf("[\"key\"] is wanted")
		}
		prefix := strings.HasSuffix(key, "*")
		return Step{Key: strings.TrimSuffix(key, "*"), Prefix: prefix}, rest, nil
	}
	inside, rest, closed := strings.Cut(text[1:], "]")
	key, value, pair := strings.Cut(inside, "=")
	if !closed || !pair || key == "" || value == "" {
		return Step{}, "", fmt.Errorf("[*], [\"key\"] or [name=value] is wanted")
	}
	return Step{Key: key, Value: value, Match: true}, rest, nil
}

func isKeyChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// String writes the path as ParsePath reads it.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch {
		case s.All:
			b.WriteString("[*]")
		case s.Match:
			b.WriteString("[" + s.Key + "=" + s.Value + "]")
		case s.Prefix:
			b.WriteString("[" + strconv.Quote(s.Key+"*") + "]")
		case i > 0 && !plain(s.Key):
			b.WriteString("[" + strconv.Quote(s.Key) + "]")
		default:
			if i > 0 {
				b.WriteByte('/')
			}
			b.WriteString(s.Key)
		}
	}
	return b.String()
}

func plain(key string) bool {
	for i := range len(key) {
		if !isKeyChar(key[i]) {
			return false
		}
	}
	return key != ""
}

// scalar writes a value as paths and patterns have it; false for maps and lists.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return "", false
}
