package intake

import (
	"fmt"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Image is one decoded change of a source row: the values of Source.Want, in
// that order.
type Image []change.Value

// The operations of a Debezium envelope.
const (
	opCreate = "c"
	opUpdate = "u"
	opRead   = "r"
	opDelete = "d"
)

// header is what the envelope says of an image.
type header struct {
	op       string
	snapshot bool
	pos      change.Position
	micros   int64 // commit time; of a snapshot row, when it was read; 0 for none
	untimed  error // why micros is none
	id       string
}

func (s *Source) header(img Image) (header, error) {
	h := header{op: string(img[wantOp].Bytes)}
	key := s.after
	switch h.op {
	case opCreate, opUpdate, opRead:
		if img[wantAfter].IsNull() {
			return h, fmt.Errorf("op is %q but there is no after image", h.op)
		}
	case opDelete:
		if img[wantBefore].IsNull() {
			return h, fmt.Errorf("op is %q but there is no before image", h.op)
		}
		key = s.before
	default:
		return h, fmt.Errorf("op is %q; c, u, r and d are known", clip(h.op))
	}
	switch string(img[wantSnapshot].Bytes) {
	case "", "false":
	default:
		h.snapshot = h.op == opRead
	}
	if img[wantLSN].IsNull() {
		return h, fmt.Errorf("source.lsn is missing: without it changes cannot be ordered")
	}
	h.micros = img[wantMicros].Int
	if img[wantMicros].IsNull() {
		h.micros = img[wantMillis].Int * 1000
	}
	if err := canonical.BoundedTime(h.micros); err != nil {
		h.micros, h.untimed = 0, fmt.Errorf("source.ts_us and ts_ms: %w", err)
		if len(s.Epochs) > 0 {
			return h, h.untimed // it would decide the epoch
		}
	}
	h.pos = change.Position{LSN: img[wantLSN].Int, Streamed: !h.snapshot}
	if !h.snapshot && !img[wantOrder].IsNull() {
		h.pos.Order = img[wantOrder].Int
	}
	for _, e := range s.Epochs {
		if h.micros >= e.Since {
			h.pos.Epoch = e.Number
		}
	}
	id, err := s.id(img, key)
	h.id = id
	return h, err
}

// clip bounds what a message quotes of a record.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
