package pipelines

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"syncline/pipelines/run"
	"syncline/processors/account"
	"syncline/processors/letters"
	"syncline/schemas/avsc"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
	"syncline/schemas/registry"
)

// The records that are no canonical entities, by their names in schemas/avsc.
const (
	recordLetter = "letter"
	recordFeed   = "feed"
)

// records frames Avro records with the registry's ids of their schemas.
type records struct {
	names  Names
	topics map[string]string // by name in schemas/avsc
	ids    map[string]int

	mu      sync.Mutex // the encoder is shared by the hops' letters and feeds
	encoder *canonical.Encoder
}

// registerRecords registers every schema under "<topic>-value". A schema that is
// not compatible with the version before it is refused by the registry, and the
// pipelines do not start.
func registerRecords(ctx context.Context, schemas Schemas, names Names) (*records, error) {
	encoder, err := canonical.NewEncoder()
	if err != nil {
		return nil, err
	}
	r := &records{names: names, topics: map[string]string{}, ids: map[string]int{}, encoder: encoder}
	for _, name := range []string{recordLetter, recordFeed} {
		r.topics[name] = names.Record(name)
	}
	for _, t := range account.Topics() {
		r.topics[t.String()] = names.Record(t.String())
	}
	for _, entity := range slices.Sorted(maps.Keys(r.topics)) {
		topic := r.topics[entity]
		text, err := avsc.Text(entity)
		if err != nil {
			return nil, err
		}
		if r.ids[entity], err = schemas.Register(ctx, topic+"-value", text); err != nil {
			return nil, fmt.Errorf("registering the schema of %s: %w", topic, err)
		}
	}
	return r, nil
}

func (r *records) frame(entity string, encoded []byte) []byte {
	return registry.Frame(r.ids[entity], encoded)
}

func (r *records) encode(entity string, rec any) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := r.encoder.Encode(registry.AppendFrame(nil, r.ids[entity]), rec)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s: %w", entity, err)
	}
	return b, nil
}

func (r *records) feed(out run.Emitter, f *canonical.FeedRecord) error {
	// Counters begin anew with each generation, their versions must not.
	f.Version += int64(max(r.names.Generation-1, 0)) << 40
	b, err := r.encode(recordFeed, f)
	if err != nil {
		return err
	}
	key := []byte(feedKey(f))
	out.Emit(r.names.Feeds, key, key, b)
	return nil
}

// A letter keeps its whole record, unless that is above the size limit: of such a
// one it quotes the beginning, and the record itself stays in its topic, under the
// letter's place.
const (
	maxLetterBytes = 1 << 20 // what the letters topic takes
	maxQuotedBytes = 256 << 10
)

func (r *records) letter(l change.Letter) (topic string, partitionKey, key, value []byte, err error) {
	most := maxLetterBytes
	if len(l.Key)+len(l.Value) > most {
		most = maxQuotedBytes
	}
	if l.State == "" {
		l.State = letters.Open
	}
	if l.Fingerprint == "" {
		l.Fingerprint = letters.Fingerprint(l.Reason, l.Topic, l.Message)
	}
	rec := &canonical.LetterRecord{
		Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Timestamp: l.Timestamp,
		Hop: l.Hop, Reason: l.Reason, Message: l.Message, Healed: l.State != letters.Open, Key: clip(l.Key, most), Value: clip(l.Value, most),
		Fingerprint: l.Fingerprint, State: l.State, Attempts: max(l.Attempts, 1), System: l.System, Entity: l.Entity, Part: l.Part,
		RowID: known(l.ID), DocumentID: known(l.Document), Who: known(l.Who), Why: known(l.Why), Instruction: known(l.Instruction),
	}
	k := []byte(letterKey(l))
	b, err := r.encode(recordLetter, rec)
	return r.names.Letters, k, k, b, err
}

// settled publishes the last word about a letter.
func (r *records) settled(out run.Emitter, l change.Letter) {
	topic, partitionKey, key, value, err := r.letter(l)
	if err == nil { // a letter without bytes always encodes
		out.Emit(topic, partitionKey, key, value)
	}
}

func clip(b []byte, most int) *[]byte {
	if b == nil {
		return nil
	}
	b = b[:min(len(b), most)]
	return &b
}

// known is nil for a text that is not known.
func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Letters encodes the dead letters that the engine writes.
type Letters struct{ records *records }

// Encode gives the record of a letter. It is safe for concurrent use.
func (l *Letters) Encode(letter change.Letter) (topic string, partitionKey, key, value []byte, err error) {
	return l.records.letter(letter)
}
