package projection

import (
	"encoding/base64"
	"encoding/hex"
	"slices"

	"syncline/schemas/change"
)

// unavailable is what Debezium sends where the database did not give it the
// value (its option unavailable.value.placeholder, at its default).
const unavailable = "__debezium_unavailable_value"

// placeholder knows every form in which that text can come.
type placeholder struct {
	forms []string
	sizes uint64 // a bit for each length that a form has; the last for all from there on
}

var defaultPlaceholder = newPlaceholder(unavailable)

// newPlaceholder lists the forms of some texts: as they are (text and bytes), as
// bytes that a connector writes in base64 or hexadecimal, and as the JSON of an
// array or an hstore.
func newPlaceholder(texts ...string) *placeholder {
	p := new(placeholder)
	for _, t := range texts {
		if octets, ok := hexOctets(t); ok {
			t = octets
		}
		p.forms = append(p.forms, t,
			base64.StdEncoding.EncodeToString([]byte(t)), base64.URLEncoding.EncodeToString([]byte(t)), hex.EncodeToString([]byte(t)),
			`["`+t+`"]`, `{"`+t+`":"`+t+`"}`)
	}
	slices.Sort(p.forms)
	p.forms = slices.Compact(p.forms)
	for _, f := range p.forms {
		p.sizes |= sizeBit(len(f))
	}
	return p
}

// hexOctets reads the option's other form, "hex:" and the bytes.
func hexOctets(t string) (string, bool) {
	const prefix = "hex:"
	if len(t) <= len(prefix) || t[:len(prefix)] != prefix {
		return "", false
	}
	b, err := hex.DecodeString(t[len(prefix):])
	return string(b), err == nil
}

func sizeBit(n int) uint64 { return 1 << min(n, 63) }

// kind is kind, or Unavailable if raw is the placeholder.
func (p *placeholder) kind(raw []byte, kind change.Kind) change.Kind {
	if p.sizes&sizeBit(len(raw)) == 0 {
		return kind
	}
	if slices.ContainsFunc(p.forms, func(form string) bool { return string(raw) == form }) { // compared without a copy
		return change.Unavailable
	}
	return kind
}

// WithPlaceholder returns the plan for a connector that has been given a
// placeholder of its own for what it was not sent (its option
// unavailable.value.placeholder); the usual one counts as well. An empty text
// changes nothing.
func (p *Plan) WithPlaceholder(text string) *Plan {
	if text == "" {
		return p
	}
	own := *p
	own.placeholder = newPlaceholder(unavailable, text)
	return &own
}
