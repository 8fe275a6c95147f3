package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/twmb/avro"
)

// Limits on one schema. They bound the work that a stranger's schema can
// cause here and in every consumer that compiles it.
const (
	MaxSchemaBytes = 256 << 10 // bytes of JSON text
	MaxFields      = 2000      // record fields in all
	MaxDepth       = 32        // types within types, references followed
	MaxNameBytes   = 255       // bytes of one full name or field name

	// A schema that refers to itself has no depth. Comparing two such schemas
	// visits pairs of types, one level of stack each, so the pairs are
	// bounded instead: few types, each to be matched by one other.
	maxRecursiveTypes   = 64
	maxRecursiveAliases = 16
	// Three JSON levels (object, "fields", field) a type, and some for values
	// of defaults and properties.
	maxJSONDepth = 3*MaxDepth + 32
)

// ErrInvalidSchema is wrapped by every error about a schema text as such: not
// JSON, not Avro, or over a limit.
var ErrInvalidSchema = errors.New("invalid Avro schema")

// schema is a text that has passed all checks.
type schema struct {
	text   string       // compact JSON, keys in the order of first registration
	digest [32]byte     // of the form that decides about sameness
	avro   *avro.Schema // read-only after parsing, so safe to share
	root   *avro.SchemaNode
}

// parseSchema checks a schema text from outside.
func parseSchema(text string) (*schema, error) {
	if len(text) > MaxSchemaBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrInvalidSchema, len(text), MaxSchemaBytes)
	}
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrInvalidSchema)
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%w: it is not UTF-8", ErrInvalidSchema)
	}
	digest, err := digestJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidSchema, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(text)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidSchema, err)
	}
	parsed, err := avro.Parse(compact.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidSchema, err)
	}
	root := parsed.Root()
	if err := checkLimits(root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidSchema, err)
	}
	return &schema{text: compact.String(), digest: digest, avro: parsed, root: root}, nil
}

// digestJSON hashes text with whitespace removed, keys sorted and strings in
// one spelling. A repeated key is refused: readers disagree about which counts.
func digestJSON(text string) ([32]byte, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var out bytes.Buffer
	if err := normaliseValue(dec, &out, 0); err != nil {
		return [32]byte{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return [32]byte{}, errors.New("more text behind the schema")
	}
	return sha256.Sum256(out.Bytes()), nil
}

func normaliseValue(dec *json.Decoder, out *bytes.Buffer, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading JSON: %w", err)
	}
	delim, nested := tok.(json.Delim)
	if !nested {
		return writeScalar(out, tok)
	}
	if depth >= maxJSONDepth {
		return fmt.Errorf("JSON nests deeper than %d levels", maxJSONDepth)
	}
	if delim == '[' {
		out.WriteByte('[')
		for dec.More() {
			if err := normaliseValue(dec, out, depth+1); err != nil {
				return err
			}
			out.WriteByte(',')
		}
		out.WriteByte(']')
		return closeDelim(dec)
	}
	members := map[string][]byte{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return fmt.Errorf("reading JSON: %w", err)
		}
		key, _ := name.(string) // the decoder admits nothing else here
		if _, twice := members[key]; twice {
			return fmt.Errorf("key %q appears twice in one object", clip(key))
		}
		var value bytes.Buffer
		if err := normaliseValue(dec, &value, depth+1); err != nil {
			return err
		}
		members[key] = value.Bytes()
	}
	keys := make([]string, 0, len(members))
	for key := range members {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out.WriteByte('{')
	for _, key := range keys {
		if err := writeScalar(out, key); err != nil {
			return err
		}
		out.WriteByte(':')
		out.Write(members[key])
		out.WriteByte(',')
	}
	out.WriteByte('}')
	return closeDelim(dec)
}

func closeDelim(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading JSON: %w", err)
	}
	return nil
}

func writeScalar(out *bytes.Buffer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	out.Write(b)
	return nil
}

// clip shortens foreign text for a message.
func clip(s string) string { return clipTo(s, 80) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
