package canonical

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/hamba/avro/v2"

	"syncline/schemas/avsc"
)

// Encoder writes the records of this package as Avro by the schemas of
// schemas/avsc. It is not safe for concurrent use: each task has its own.
type Encoder struct {
	w       *avro.Writer
	schemas *[len(recordNames)]avro.Schema
}

// compiled are the schemas by recordNumber, compiled once for all encoders: a
// task that starts anew, or whose transaction is thrown away, makes another one.
var compiled = sync.OnceValues(func() (*[len(recordNames)]avro.Schema, error) {
	var schemas [len(recordNames)]avro.Schema
	for i, name := range recordNames {
		text, err := avsc.Text(name)
		if err != nil {
			return nil, err
		}
		// A cache of its own: the library's default one is shared by the whole
		// process and leaks named types from one schema into the next.
		if schemas[i], err = avro.ParseWithCache(text, "", &avro.SchemaCache{}); err != nil {
			return nil, fmt.Errorf("parsing schemas/avsc/%s.avsc: %w", name, err)
		}
	}
	return &schemas, nil
})

// NewEncoder returns an encoder.
func NewEncoder() (*Encoder, error) {
	schemas, err := compiled()
	if err != nil {
		return nil, err
	}
	// An API of its own too, for the same reason.
	api := avro.Config{}.Freeze()
	return &Encoder{w: avro.NewWriter(nil, 1024, avro.WithWriterConfig(api)), schemas: schemas}, nil
}

// Encode appends the Avro binary of rec, without Confluent framing, to dst. rec
// is a pointer to a record struct of this package.
func (e *Encoder) Encode(dst []byte, rec any) ([]byte, error) {
	n := recordNumber(rec)
	if n < 0 {
		return nil, fmt.Errorf("encoding %T: it is not a record of the canonical topics", rec)
	}
	e.w.Reset(nil)
	e.w.Error = nil
	e.w.WriteVal(e.schemas[n], rec)
	if e.w.Error != nil {
		return nil, fmt.Errorf("encoding %T: %w", rec, e.w.Error)
	}
	return append(dst, e.w.Buffer()...), nil
}

// AppendVersion appends encoded, a record with an envelope that was encoded with
// version 0, as one of the given version: an image is encoded once, compared
// with the one before, and then gets its version.
func AppendVersion(dst, encoded []byte, version int64) ([]byte, error) {
	at, err := versionOffset(encoded)
	if err != nil {
		return nil, err
	}
	dst = append(dst, encoded[:at]...)
	dst = binary.AppendVarint(dst, version)
	return append(dst, encoded[at+1:]...), nil
}

// versionOffset finds the version in an encoded envelope: entity_id is a string,
// account_id a union of null and string, then comes the version, of one byte
// while it is 0.
func versionOffset(b []byte) (int, error) {
	at, ok := skipString(b, 0)
	if ok && at < len(b) {
		switch b[at] {
		case 0: // null
			at++
		case 2:
			at, ok = skipString(b, at+1)
		default:
			ok = false
		}
	}
	if !ok || at >= len(b) || b[at] != 0 {
		return 0, fmt.Errorf("setting the version of an encoded record: it does not begin with an envelope of version 0")
	}
	return at, nil
}

func skipString(b []byte, at int) (int, bool) {
	n, w := binary.Varint(b[at:])
	if w <= 0 || n < 0 || n > int64(len(b)-at-w) {
		return 0, false
	}
	return at + w + int(n), true
}
