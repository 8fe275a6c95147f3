package intake

import (
	"errors"
	"fmt"
	"strings"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// The operations of a Debezium envelope.
const (
	opCreate   = "c"
	opUpdate   = "u"
	opRead     = "r"
	opDelete   = "d"
	opTruncate = "t"
	opMessage  = "m" // a message in the database's log: no row
)

// header is what the envelope says of an image.
type header struct {
	op          string
	snapshot    bool
	incremental bool // read beside the stream, a chunk at a time
	closing     bool // the last row that a full snapshot has of the table
	unplaced    bool // has no position of its own
	pos         change.Position
	micros      int64 // commit time; of a snapshot row, when it was read; 0 for none
	untimed     error // why micros is none
	id          string
}

// ErrNoKey says that a record has no key at all.
var ErrNoKey = errors.New("the record has no key, so changes of one row reach several partitions and their order is lost: " +
	"its table has no primary key, or the connector was not told of one; give the table a primary key, or name its columns in the connector's message.key.columns")

// header reads the envelope. key is the native id that the record's key names,
// "" where it has none.
func (s *Source) header(img Image, key string) (header, error) {
	h := header{op: string(img[wantOp].Bytes)}
	switch h.op {
	case opCreate, opUpdate, opRead:
		if img[wantAfter].IsNull() {
			return h, fmt.Errorf("op is %q but there is no after image", h.op)
		}
	case opDelete, opTruncate:
	case opMessage:
		return h, nil
	default:
		return h, fmt.Errorf("op is %q; c, u, r, d, t and m are known", clip(h.op))
	}
	if h.op == opRead {
		switch string(img[wantSnapshot].Bytes) {
		case "", "false":
		case "incremental":
			h.snapshot, h.incremental = true, true
		case "last", "last_in_data_collection":
			h.snapshot, h.closing = true, true
		default:
			h.snapshot = true
		}
	}
	h.unplaced = img[wantLSN].IsNull()
	if h.unplaced && !h.snapshot {
		return h, fmt.Errorf("source.lsn is missing: without it changes cannot be ordered")
	}
	h.micros = img[wantMicros].Int
	if img[wantMicros].IsNull() {
		h.micros = img[wantMillis].Int * 1000
	}
	if err := canonical.BoundedTime(h.micros); err != nil {
		h.micros, h.untimed = 0, fmt.Errorf("source.ts_us and ts_ms: %w", err)
		if len(s.Epochs) > 0 || h.unplaced {
			return h, h.untimed // it would decide the order
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
	var err error
	if h.op != opTruncate {
		h.id, err = s.rowID(h.op, img, key)
	}
	return h, err
}

// rowID is the native id of the row that an image is of. The record's key says
// it where the image does not: a delete comes without a before image where the
// table has no replica identity, and a long key can be left out of an image.
func (s *Source) rowID(op string, img Image, key string) (string, error) {
	columns := s.after
	if op == opDelete {
		if columns = s.before; img[wantBefore].IsNull() {
			if key == "" {
				return "", fmt.Errorf("op is %q, and neither a key nor a before image says which row is gone", op)
			}
			return key, nil
		}
	}
	for _, i := range columns {
		if key != "" && (img[i].Kind == change.Unavailable || op == opDelete && img[i].IsNull()) {
			return key, nil
		}
	}
	return s.id(img, columns)
}

// Writer is the schema with which a topic's values are written.
type Writer interface {
	Name() string         // of its outermost record; "" for none
	Has(path string) bool // whether it has a field
}

// foreign are the connectors that are known and not supported, by a field of
// their source block.
var foreign = []struct{ field, name string }{
	{"source.server_id", "MySQL or MariaDB"},
	{"source.commit_lsn", "SQL Server or Db2"},
	{"source.scn", "Oracle"},
	{"source.collection", "MongoDB"},
}

// Judge says what values of a writer's schema are: changes of rows (Pass), events
// of the connector itself (Drop), or what no row can be read from (Park), with
// what to change at the connector. It is asked once per schema.
func (s *Source) Judge(w Writer) change.Verdict {
	park := func(format string, args ...any) change.Verdict {
		return change.Parked(ReasonEnvelope, fmt.Errorf(format, args...))
	}
	switch {
	case w.Has("op") && w.Has("after") && w.Has("source.lsn"):
		return change.Verdict{}
	case strings.HasPrefix(w.Name(), "io.debezium.connector."),
		w.Has("status") && w.Has("event_count") && w.Has("data_collections"),
		w.Has("ddl") && w.Has("source.connector"),
		w.Has("message.prefix") && w.Has("op"):
		return change.Dropped(ReasonNoChange)
	}
	for _, f := range foreign {
		if w.Has(f.field) {
			return park("the changes come from Debezium's connector for %s; only its connector for PostgreSQL (connector.class io.debezium.connector.postgresql.PostgresConnector) is supported", f.name)
		}
	}
	switch {
	case w.Has("op") && w.Has("source"):
		return park("the change has no source.lsn, so it does not come from Debezium's connector for PostgreSQL, the only one that is supported: see the connector's connector.class")
	case w.Has("op") && w.Has("after"):
		return park("the change has no source block: remove from the connector's transforms what takes it away")
	case s.flattened(w):
		return park("the records are flattened rows without the envelope that tells order and deletes: remove ExtractNewRecordState (often named unwrap) from the connector's transforms")
	}
	return park("the record is no change of a row: it has no op, source and after; is this a topic of Debezium's connector for PostgreSQL?")
}

// flattened reports whether a row's columns stand where the envelope should.
func (s *Source) flattened(w Writer) bool {
	if w.Has("__deleted") || w.Has("__op") {
		return true
	}
	for column := range s.columns {
		if w.Has(column) {
			return true
		}
	}
	return false
}
