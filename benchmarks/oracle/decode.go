package oracle

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/avro"
)

// unavailable is what Debezium sends for a large value that the change did not
// touch.
const unavailable = "__debezium_unavailable_value"

// decoder turns the recording's framed Avro into plain maps, every writer
// schema resolved to the newest of its subject so that added columns have
// their defaults.
type decoder struct {
	schemas  recordedSchemas
	resolved map[string]*avro.Schema // "subject/id"
	meanings map[string]map[string]string
}

func newDecoder(s recordedSchemas) *decoder {
	return &decoder{schemas: s, resolved: map[string]*avro.Schema{}, meanings: map[string]map[string]string{}}
}

// unframe splits the Confluent framing: a zero byte, the schema id in four
// bytes, the Avro body.
func unframe(data []byte) (uint32, []byte, error) {
	if len(data) < 5 || data[0] != 0 {
		return 0, nil, fmt.Errorf("%d bytes without Confluent framing", len(data))
	}
	return binary.BigEndian.Uint32(data[1:5]), data[5:], nil
}

// decode reads a key or value of the subject.
func (d *decoder) decode(subject string, data []byte) (map[string]any, error) {
	id, body, err := unframe(data)
	if err != nil {
		return nil, err
	}
	name := subject + "/" + strconv.FormatUint(uint64(id), 10)
	schema, ok := d.resolved[name]
	if !ok {
		if schema, err = d.resolve(subject, id); err != nil {
			return nil, err
		}
		d.resolved[name] = schema
	}
	var out map[string]any
	rest, err := schema.Decode(body, &out)
	if err != nil {
		return nil, fmt.Errorf("decoding schema %d of %s: %w", id, subject, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("decoding schema %d of %s: %d bytes too many", id, subject, len(rest))
	}
	return out, nil
}

func (d *decoder) resolve(subject string, id uint32) (*avro.Schema, error) {
	text, ok := d.schemas.byID[id]
	if !ok {
		return nil, fmt.Errorf("schema %d of %s is not in the recording", id, subject)
	}
	writer, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing schema %d: %w", id, err)
	}
	versions := d.schemas.subjects[subject]
	if len(versions) == 0 || versions[len(versions)-1] == id {
		return writer, nil
	}
	newest := versions[len(versions)-1]
	reader, err := avro.Parse(d.schemas.byID[newest])
	if err != nil {
		return nil, fmt.Errorf("parsing schema %d: %w", newest, err)
	}
	out, err := avro.Resolve(writer, reader)
	if err != nil {
		return nil, fmt.Errorf("resolving schema %d to %d: %w", id, newest, err)
	}
	return out, nil
}

// meaning returns the Connect type names of the columns of a table's rows, by
// column, from the subject's newest schema.
func (d *decoder) meaning(subject string) (map[string]string, error) {
	if m, ok := d.meanings[subject]; ok {
		return m, nil
	}
	versions := d.schemas.subjects[subject]
	if len(versions) == 0 {
		return nil, fmt.Errorf("subject %s has no schema", subject)
	}
	var envelope struct {
		Fields []struct {
			Name string          `json:"name"`
			Raw  json.RawMessage `json:"type"`
		} `json:"fields"`
	}
	if err := json.Unmarshal([]byte(d.schemas.byID[versions[len(versions)-1]]), &envelope); err != nil {
		return nil, fmt.Errorf("reading schema of %s: %w", subject, err)
	}
	out := map[string]string{}
	for _, f := range envelope.Fields {
		if f.Name != "before" {
			continue
		}
		var union []json.RawMessage
		if err := json.Unmarshal(f.Raw, &union); err != nil || len(union) != 2 {
			return nil, fmt.Errorf("reading schema of %s: before is no union of null and a record", subject)
		}
		var row struct {
			Fields []struct {
				Name string          `json:"name"`
				Type json.RawMessage `json:"type"`
			} `json:"fields"`
		}
		if err := json.Unmarshal(union[1], &row); err != nil {
			return nil, fmt.Errorf("reading schema of %s: %w", subject, err)
		}
		for _, c := range row.Fields {
			out[c.Name] = connectName(c.Type)
		}
	}
	d.meanings[subject] = out
	return out, nil
}

// connectName returns the connect.name of a type or of a union's branch, "bytes"
// for bytes, else "".
func connectName(raw json.RawMessage) string {
	var union []json.RawMessage
	if json.Unmarshal(raw, &union) == nil {
		for _, branch := range union {
			if n := connectName(branch); n != "" {
				return n
			}
		}
		return ""
	}
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		if plain == "bytes" || strings.HasSuffix(plain, "VariableScaleDecimal") {
			return plain
		}
		return ""
	}
	var named struct {
		Type any    `json:"type"`
		Name string `json:"connect.name"`
	}
	if json.Unmarshal(raw, &named) != nil {
		return ""
	}
	if named.Name == "" && named.Type == "bytes" {
		return "bytes"
	}
	return named.Name
}

// pgText writes a decoded column as PostgreSQL's text of it, as far as the
// types of the recordings go. Numbers come in normal form.
func pgText(meaning string, value any) (*string, error) {
	var s string
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		s = v
	case bool:
		s = strconv.FormatBool(v)
	case int32:
		if meaning == "io.debezium.time.Date" {
			s = DateText(int64(v))
		} else {
			s = strconv.FormatInt(int64(v), 10)
		}
	case int64:
		if meaning == "io.debezium.time.MicroTimestamp" {
			s = time.UnixMicro(v).UTC().Format("2006-01-02 15:04:05.999999")
		} else {
			s = strconv.FormatInt(v, 10)
		}
	case float64:
		s = strconv.FormatFloat(v, 'f', -1, 64)
	case map[string]any:
		scale, okScale := v["scale"].(int32)
		unscaled, okBytes := v["value"].([]byte)
		if !okScale || !okBytes || scale < 0 || scale > maxNumber {
			return nil, fmt.Errorf("%T is no decimal with a scale of its own", value)
		}
		s = scaled(unscaled, int(scale))
	default:
		return nil, fmt.Errorf("a value of type %T (%s) has no text", value, meaning)
	}
	return &s, nil
}

// scaled writes a two's complement big-endian integer divided by ten to the
// power of scale.
func scaled(unscaled []byte, scale int) string {
	n := new(big.Int).SetBytes(unscaled)
	if len(unscaled) > 0 && unscaled[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(unscaled))))
	}
	r := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
	return r.FloatString(scale)
}
