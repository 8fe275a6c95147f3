package httpcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"syncline/sinks"
)

const mostDepth = 64

// Decode reads an answer's JSON strictly: one value in UTF-8, no name twice in an
// object (whose last one another reader may not take), not too deep.
func Decode(r sinks.Reply, into any) error {
	if !JSON(r) {
		return fmt.Errorf("content type %q is not JSON in UTF-8", r.Header["content-type"])
	}
	if !utf8.Valid(r.Body) {
		return errors.New("the answer is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.UseNumber()
	if err := strict(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the answer goes on behind its JSON value")
	}
	return json.Unmarshal(r.Body, into)
}

// strict reads one value.
func strict(d *json.Decoder, depth int) error {
	if depth > mostDepth {
		return fmt.Errorf("the answer is more than %d levels deep", mostDepth)
	}
	token, err := d.Token()
	if err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	names := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return fmt.Errorf("the answer is not JSON: %w", err)
			}
			// encoding/json does not tell names apart that differ in case only.
			text := strings.ToLower(fmt.Sprint(name))
			if names[text] {
				return fmt.Errorf("the answer has %q twice in one object", name)
			}
			names[text] = true
		}
		if err := strict(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// ID is a native id, which some vendors write as a number and some as a text, or
// now one way and now the other.
type ID string

// UnmarshalJSON takes a text or a whole number.
func (id *ID) UnmarshalJSON(b []byte) error {
	var text string
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		*id = ID(text)
		return nil
	}
	if strings.Trim(string(b), "0123456789") != "" {
		return fmt.Errorf("%s is neither a text nor a whole number", b)
	}
	*id = ID(b)
	return nil
}

const mostWords = 500

// Words are a target's own words for people: cut, on one line, without secrets.
func Words(b []byte, secrets ...string) string {
	text := strings.ToValidUTF8(string(b), "\uFFFD")
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "…")
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > mostWords {
		text = strings.ToValidUTF8(text[:mostWords], "") + "…"
	}
	return text
}
