package canonical

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/avro"

	"syncline/schemas/avsc"
)

// ErrSchema is wrapped by errors of [Decoder.Decode] that tell nothing about
// the record: its writer's schema could not be had. Asking again may help.
var ErrSchema = errors.New("writer schema not available")

// Schemas returns the text of the schema that a registry knows under id.
type Schemas interface {
	SchemaByID(ctx context.Context, id int) (string, error)
}

// Decoder reads Confluent-framed records of one canonical topic, whatever
// version of the schema they were written with: fields that the writer did not
// know have their default, fields that we do not know are stepped over. It is
// safe for concurrent use.
type Decoder struct {
	name    string
	reader  *avro.Schema
	schemas Schemas

	mu    sync.RWMutex
	plans map[int]*avro.Schema // by the writer's schema id
}

// maxPlans bounds what unheard-of schema ids can make us keep. A topic has a
// handful of versions.
const maxPlans = 1000

// NewDecoder returns the decoder of the named record of schemas/avsc.
func NewDecoder(name string, schemas Schemas) (*Decoder, error) {
	text, err := avsc.Text(name)
	if err != nil {
		return nil, err
	}
	reader, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing schemas/avsc/%s.avsc: %w", name, err)
	}
	return &Decoder{name: name, reader: reader, schemas: schemas, plans: map[int]*avro.Schema{}}, nil
}

// Decode reads framed into rec, a pointer to the record struct that belongs to
// the decoder's name; rec must be zero. Its strings and bytes are views into
// framed. An error that wraps [ErrSchema] says nothing about the record, every
// other one that it will never be readable.
func (d *Decoder) Decode(ctx context.Context, framed []byte, rec any) error {
	if len(framed) < 5 || framed[0] != 0 {
		return fmt.Errorf("decoding %s: %d bytes without a Confluent frame (a zero byte and a schema id of four bytes)", d.name, len(framed))
	}
	id := binary.BigEndian.Uint32(framed[1:5])
	if id > 1<<31-1 {
		return fmt.Errorf("decoding %s: schema id %d is above 2147483647", d.name, id)
	}
	plan, err := d.plan(ctx, int(id))
	if err != nil {
		return err
	}
	rest, err := plan.Decode(framed[5:], rec, avro.AliasInput())
	if err != nil {
		return fmt.Errorf("decoding %s written with schema id %d: %w", d.name, id, err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("decoding %s written with schema id %d: %d bytes are left after the record", d.name, id, len(rest))
	}
	return nil
}

func (d *Decoder) plan(ctx context.Context, id int) (*avro.Schema, error) {
	d.mu.RLock()
	plan := d.plans[id]
	d.mu.RUnlock()
	if plan != nil {
		return plan, nil
	}
	text, err := d.schemas.SchemaByID(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("decoding %s written with schema id %d: %w: %w", d.name, id, ErrSchema, err)
	}
	writer, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: parsing schema id %d: %w", d.name, id, err)
	}
	if bytes.Equal(writer.Canonical(), d.reader.Canonical()) {
		plan = d.reader // the same bytes on the wire
	} else if plan, err = avro.Resolve(writer, d.reader); err != nil {
		return nil, fmt.Errorf("decoding %s: schema id %d cannot be read as schemas/avsc/%s.avsc: %w", d.name, id, d.name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.plans) >= maxPlans {
		clear(d.plans)
	}
	d.plans[id] = plan
	return plan, nil
}

// parse reads a schema in which a decimal is its bare bytes, as in our structs:
// by way of the library's rational numbers an invoice takes four times as long.
// The scale is then nobody's to convert, so any other than ours is an error.
func parse(text string) (*avro.Schema, error) {
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	if err := bareDecimals(tree); err != nil {
		return nil, err
	}
	bare, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	return avro.Parse(string(bare))
}

// bareDecimals removes the logical type decimal. The depth is bounded by that
// of encoding/json.
func bareDecimals(node any) error {
	switch n := node.(type) {
	case []any:
		for _, e := range n {
			if err := bareDecimals(e); err != nil {
				return err
			}
		}
	case map[string]any:
		if n["logicalType"] == "decimal" {
			if n["type"] != "bytes" || n["scale"] != float64(DecimalScale) {
				return fmt.Errorf("decimal of type %v and scale %v: canonical amounts are bytes of scale %d; register a schema that keeps it", n["type"], n["scale"], DecimalScale)
			}
			delete(n, "logicalType")
		}
		for _, e := range n {
			if err := bareDecimals(e); err != nil {
				return err
			}
		}
	}
	return nil
}
