package session

import (
	"encoding/json"
	"unicode/utf8"
)

// Name is the path of a file or folder. It may be of any bytes, which text in
// JSON may not: one that is no UTF-8 is written as {"bytes": "…"}, in base64.
type Name string

// rawName is a name that is no text.
type rawName struct {
	Bytes []byte `json:"bytes"`
}

// MarshalJSON writes a text, or the bytes.
func (n Name) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(n)) {
		return json.Marshal(string(n))
	}
	return json.Marshal(rawName{[]byte(n)})
}

// UnmarshalJSON reads both forms.
func (n *Name) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var raw rawName
		err := json.Unmarshal(data, &raw)
		*n = Name(raw.Bytes)
		return err
	}
	var text string
	err := json.Unmarshal(data, &text)
	*n = Name(text)
	return err
}
