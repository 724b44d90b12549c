package recipe

// LayerKind is what a layer is made of; the name of its field in a Layer.
type LayerKind string

// The kinds of layers. A recipe that is loaded has no layer of kind use: the
// layers it stands for are in its place.
const (
	KindNone    LayerKind = ""
	KindUse     LayerKind = "use"
	KindGo      LayerKind = "go"
	KindDebian  LayerKind = "debian"
	KindWheels  LayerKind = "wheels"
	KindNPM     LayerKind = "npm"
	KindFiles   LayerKind = "files"
	KindPreload LayerKind = "preload"
)

// Kinds returns every kind that l has a field set for; a valid layer has one.
func (l Layer) Kinds() []LayerKind {
	var kinds []LayerKind
	for _, k := range []struct {
		set  bool
		kind LayerKind
	}{
		{l.Use != "", KindUse},
		{l.Go != nil, KindGo},
		{l.Debian != nil, KindDebian},
		{l.Wheels != nil, KindWheels},
		{l.NPM != nil, KindNPM},
		{len(l.Files) > 0, KindFiles},
		{l.Preload != nil, KindPreload},
	} {
		if k.set {
			kinds = append(kinds, k.kind)
		}
	}
	return kinds
}

// Kind returns the layer's kind, KindNone unless exactly one field is set.
func (l Layer) Kind() LayerKind {
	if kinds := l.Kinds(); len(kinds) == 1 {
		return kinds[0]
	}
	return KindNone
}
