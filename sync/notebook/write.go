package notebook

import "fmt"

// encode writes a value as nbformat does: json.dumps with ensure_ascii=False,
// indent=1 and separators=(",", ": "), and a newline at the end
// (nbformat/v4/nbjson.py, nbformat.write).
func encode(v *value) []byte {
	return append(appendValue(nil, v, 0), '\n')
}

func appendValue(out []byte, v *value, depth int) []byte {
	switch v.kind {
	case text:
		return appendText(out, v.text)
	case list:
		if len(v.items) == 0 {
			return append(out, "[]"...)
		}
		out = append(out, '[')
		for i, item := range v.items {
			out = appendLine(out, i, depth+1)
			out = appendValue(out, item, depth+1)
		}
		return append(appendLine(out, 0, depth), ']')
	case object:
		if len(v.keys) == 0 {
			return append(out, "{}"...)
		}
		out = append(out, '{')
		for i, key := range v.keys {
			out = appendLine(out, i, depth+1)
			out = append(appendText(out, key), ": "...)
			out = appendValue(out, v.fields[key], depth+1)
		}
		return append(appendLine(out, 0, depth), '}')
	default:
		return append(out, v.text...)
	}
}

func appendLine(out []byte, i, depth int) []byte {
	if i > 0 {
		out = append(out, ',')
	}
	out = append(out, '\n')
	for range depth {
		out = append(out, ' ')
	}
	return out
}

// appendText escapes what Python's json module escapes, and nothing else.
func appendText(out []byte, s string) []byte {
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"', c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\r':
			out = append(out, `\r`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c == '\b':
			out = append(out, `\b`...)
		case c == '\f':
			out = append(out, `\f`...)
		case c < ' ':
			out = fmt.Appendf(out, `\u%04x`, c)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
