package pipelines

import (
	"fmt"
	"strconv"

	"syncline/pipelines/run"
	"syncline/processors/account"
	"syncline/processors/document"
	"syncline/processors/party"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

const reasonCorrupt = "record.corrupt"

// documentTask gathers rows into documents.
type documentTask struct {
	op        *document.Operator
	records   *records
	partition int32
}

func (t *documentTask) Process(m *run.Message, _ run.Emitter) change.Verdict {
	row, err := change.DecodeRowHead(m.Value)
	if err != nil {
		return change.Stopped(reasonCorrupt, err)
	}
	return t.op.Apply(&row, m.Value, document.Place{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp})
}

func (t *documentTask) Flush(out run.Emitter) error {
	if err := t.op.Flush(documentOutput{out: out, topic: t.records.names.Documents, records: t.records}); err != nil {
		return err
	}
	for _, w := range t.op.Waits() {
		f := &canonical.FeedRecord{
			Topic: w.Topic, Hop: HopDocument, Partition: t.partition, Version: w.Version, Waiting: w.Rows, WaitingSince: nil,
			Letters: w.Letters, Healed: w.Healed,
			Received: 0, Repeated: 0, Stale: 0, Unavailable: 0, OutOfSnapshot: 0, Tombstones: 0, LastEventAt: nil, LastSeenAt: nil, Swept: 0, SweepHeld: 0, Unplaced: 0, // intake's
		}
		if w.Since > 0 {
			f.WaitingSince = &w.Since
		}
		if err := t.records.feed(out, f); err != nil {
			return err
		}
	}
	return nil
}

func (t *documentTask) Advance(int, run.Emitter) (bool, error) { return false, nil }
func (t *documentTask) Reset()                                 { t.op.Reset() }

type documentOutput struct {
	out     run.Emitter
	topic   string
	records *records
}

func (o documentOutput) Settled(l change.Letter) { o.records.settled(o.out, l) }

func (o documentOutput) Document(h change.DocumentHead, stored []byte) {
	by := documentPartition(h)
	if h.Party != "" {
		by = []byte(h.System + "/" + h.Party)
	}
	o.out.Emit(o.topic, by, documentKey(h), stored)
}

// documentKey is the key of a document's records: what it is, and the party
// under which it is seen.
func documentKey(h change.DocumentHead) []byte {
	return canonical.AppendKey(nil, h.System, h.Entity, h.ID, h.Party)
}

// documentPartition is the partition key of a document without an account. Only
// its last part can hold a slash.
func documentPartition(h change.DocumentHead) []byte {
	return []byte(h.System + "/" + h.Entity + "/" + h.ID)
}

// partyTask finds the account of documents.
type partyTask struct {
	op       *party.Operator
	accounts string // topic
}

func (t *partyTask) Process(m *run.Message, out run.Emitter) change.Verdict {
	h, err := change.DecodeDocumentHead(m.Value)
	if err != nil {
		return change.Stopped(reasonCorrupt, err)
	}
	return t.op.Apply(h, m.Value, partyOutput{out: out, topic: t.accounts})
}

func (t *partyTask) Flush(run.Emitter) error { return nil }
func (t *partyTask) Advance(budget int, out run.Emitter) (bool, error) {
	return t.op.Advance(budget, partyOutput{out: out, topic: t.accounts})
}
func (t *partyTask) Reset() {}

type partyOutput struct {
	out   run.Emitter
	topic string
}

func (o partyOutput) Account(h change.DocumentHead, a *change.AccountDocument) {
	by := a.Account[:]
	if a.Account.IsZero() {
		by = documentPartition(h)
	}
	o.out.Emit(o.topic, by, documentKey(h), change.AppendAccountDocument(nil, a))
}

// accountTask makes canonical entities.
type accountTask struct {
	op        *account.Operator
	records   *records
	partition int32
}

func (t *accountTask) Process(m *run.Message, _ run.Emitter) change.Verdict {
	a, err := change.DecodeAccountDocument(m.Value)
	if err != nil {
		return change.Stopped(reasonCorrupt, err)
	}
	return t.op.Apply(&a, m.Value)
}

func (t *accountTask) Flush(out run.Emitter) error {
	return t.op.Flush(accountOutput{out: out, records: t.records})
}

// Advance publishes what a rebuild finds different, and says when that is done.
func (t *accountTask) Advance(budget int, out run.Emitter) (bool, error) {
	more, done, err := t.op.Advance(budget, accountOutput{out: out, records: t.records})
	if err != nil || !done {
		return more, err
	}
	i := run.Instruction{
		ID:   fmt.Sprintf("%s/%d/%d", kindDone, t.records.names.Generation, t.partition),
		Kind: kindDone, Hop: rebuildHop, Who: ByPipelines, Body: strconv.AppendInt(nil, int64(t.records.names.Generation), 10),
	}
	value, err := Instructions{}.EncodeInstruction(&i)
	if err != nil {
		return false, err
	}
	out.Emit(t.records.names.Instructions, []byte(i.ID), []byte(i.ID), value)
	return false, nil
}

// Obey implements [run.Obedient].
func (t *accountTask) Obey(i *run.Instruction, _ run.Emitter) change.Verdict {
	if i.Kind != kindRelease {
		return change.Dropped("instruction.unknown")
	}
	if !t.op.Release() {
		return change.Dropped("instruction.not_held")
	}
	return change.Verdict{}
}

func (t *accountTask) Reset() { t.op.Reset() }

type accountOutput struct {
	out     run.Emitter
	records *records
}

func (o accountOutput) Record(topic account.Topic, rec canonical.Versioned, encoded []byte) {
	head := rec.Head()
	key, by := head.EntityID+"/", head.EntityID
	if head.AccountID != nil {
		key, by = head.EntityID+"/"+*head.AccountID, *head.AccountID
	}
	entity := topic.String()
	o.out.Emit(o.records.topics[entity], []byte(by), []byte(key), o.records.frame(entity, encoded))
}

func feedKey(f *canonical.FeedRecord) string {
	return f.Hop + "/" + f.Topic + "/" + strconv.Itoa(int(f.Partition))
}
