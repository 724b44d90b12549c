package drift

import "strings"

// words cuts a path into its parts, whether it is written as findings write it
// (a/b[name=x]/c, a["k.l"]) or as the server writes conflicts
// (.a.b[name="x"].c, .a.k.l, .a[="v"]): what stands between separators, without
// quotes. Keys with dots in them fall apart on both sides alike.
func words(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(`./[]"=,:`, r) })
}
