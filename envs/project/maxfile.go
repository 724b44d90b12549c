package project

import (
	"math"
	"strconv"
	"strings"
)

// MaxFile is a size in bytes, which may end with Ki, Mi, Gi or Ti, or off.
type MaxFile string

// DefaultMaxFile is the size where none is given.
const DefaultMaxFile = 4 << 30

// UnmarshalText takes what was written, also of a number. Validation says whether
// it is a size.
func (m *MaxFile) UnmarshalText(text []byte) error {
	*m = MaxFile(text)
	return nil
}

// Bytes returns the size; 0: any. It is false for what is none.
func (m MaxFile) Bytes() (int64, bool) {
	switch {
	case m == "":
		return DefaultMaxFile, true
	case m == "off":
		return 0, true
	case !matches(sizeForm, string(m)):
		return 0, false
	}
	text, shift := string(m), 0
	for i, unit := range []string{"Ki", "Mi", "Gi", "Ti"} {
		if count, ok := strings.CutSuffix(text, unit); ok {
			text, shift = count, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n << shift, err == nil && n <= math.MaxInt64>>shift
}

// MaxFileBytes returns how large a file from the pod may be; 0: any.
func (s Sync) MaxFileBytes() int64 {
	n, _ := s.MaxFile.Bytes() // what is none cannot be in a file that was read
	return n
}

func (v *validator) size(at []any, size MaxFile) {
	if _, ok := size.Bytes(); v.doc.Has(at...) && (!ok || size == "") {
		v.at(at, "%q is no size: write 500Mi, 20Gi, a count of bytes, or off", string(size))
	}
}
