package stack

import (
	"fmt"
	"regexp"
	"strconv"

	"k8s.io/apimachinery/pkg/api/resource"
)

var (
	identifier = regexp.MustCompile(`^[a-z][A-Za-z0-9]*$`)
	word       = regexp.MustCompile(`^[A-Za-z0-9][\w./:@-]{0,255}$`)
	quantity   = regexp.MustCompile(`^[0-9][0-9.]{0,15}([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$`)
)

// parseQuantity reads Kubernetes' notation of an amount that is not negative.
// It is stricter than Kubernetes, whose parser takes minutes for an exponent
// of nine digits.
func parseQuantity(text string) (resource.Quantity, error) {
	if !quantity.MatchString(text) {
		return resource.Quantity{}, fmt.Errorf("not an amount such as 100m, 2 or 512Mi")
	}
	return resource.ParseQuantity(text)
}

// Check reports what is wrong with text as a value of v's type, or nil.
func (v Value) Check(text string) error {
	var err error
	switch v.Type {
	case Integer:
		_, err = strconv.ParseInt(text, 10, 64)
	case Boolean:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is not true or false", text)
		}
	case Quantity:
		_, err = parseQuantity(text)
	case Word:
		if !word.MatchString(text) {
			return fmt.Errorf("%q may hold letters, digits and . _ / : @ - only", text)
		}
	default:
		return fmt.Errorf("type %q is not one of %s, %s, %s, %s", v.Type, Integer, Boolean, Quantity, Word)
	}
	if err != nil {
		return fmt.Errorf("%q is not of type %s", text, v.Type)
	}
	return nil
}
