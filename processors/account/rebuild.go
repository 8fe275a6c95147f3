package account

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// A rebuild computes everything anew, in a second generation of state beside the
// first. What the first has published is put into the new state as seeds, so that
// versions go on and only what differs is published. Until the sources are
// caught up with, the operator gathers and publishes nothing: it is held. When
// it is let go, it goes through all documents, and then retires what it was
// seeded with and has no document for. All of this is in the state, in bounded
// steps.

// gateKey holds how far a rebuild is; there is none when nothing is rebuilt.
var gateKey = []byte{'g'}

// The steps of a rebuild, the first byte under gateKey; a cursor follows.
const (
	gateHeld  byte = 0 // gathers
	gateShows byte = 1 // goes through all documents
	gateDrops byte = 2 // retires what is left of the seeds
)

const seedKind = 's'

// Held is the state entry that makes an operator begin held.
func Held() (key, value []byte) { return gateKey, []byte{gateHeld} }

// Seed is the state entry that tells a new generation what an earlier one has
// published last of an entity; rec is that record, and its version is cleared.
func Seed(topic Topic, rec canonical.Versioned, encoder *canonical.Encoder) (key, value []byte, err error) {
	head := rec.Head()
	id, err := uuid.Parse(head.EntityID)
	if err != nil {
		return nil, nil, fmt.Errorf("seeding %s: %w", topic, err)
	}
	var account uuid.UUID
	if head.AccountID != nil {
		if account, err = uuid.Parse(*head.AccountID); err != nil {
			return nil, nil, fmt.Errorf("seeding %s %s: %w", topic, head.EntityID, err)
		}
	}
	last := sent{version: head.Version, deleted: head.Deleted}
	head.Version = 0
	image, err := encoder.Encode(nil, rec)
	if err != nil {
		return nil, nil, fmt.Errorf("seeding %s %s: %w", topic, head.EntityID, err)
	}
	sum := sha256.Sum256(image)
	last.hash = [16]byte(sum[:16])
	s := seed{sent: last, system: head.System, nativeID: head.NativeID}
	return seedKey(topic, change.ID(id), change.ID(account)), s.append(nil), nil
}

// seed is what an earlier generation has published last of an entity. It stays,
// marked deleted, when that is retired: should the entity come back, its
// versions go on.
type seed struct {
	sent
	system, nativeID string
}

func seedKey(topic Topic, id, account change.ID) []byte {
	b := append(make([]byte, 0, 2+2*len(id)), seedKind, byte(topic))
	return append(append(b, id[:]...), account[:]...)
}

func (s seed) append(b []byte) []byte {
	b = s.sent.append(b)
	b = binary.AppendUvarint(b, uint64(len(s.system)))
	return append(append(b, s.system...), s.nativeID...)
}

func decodeSeed(b []byte) (seed, error) {
	last, err := decodeSent(b)
	if err != nil || b == nil {
		return seed{}, err
	}
	_, n := binary.Varint(b[17:])
	rest := b[17+n:]
	size, n := binary.Uvarint(rest)
	if n <= 0 || size > uint64(len(rest)-n) {
		return seed{}, errSent
	}
	rest = rest[n:]
	return seed{sent: last, system: string(rest[:size]), nativeID: string(rest[size:])}, nil
}

// rebuilt says whether the state is that of a second generation.
func (o *Operator) rebuilt() bool {
	found := o.store.Get(gateKey) != nil
	o.store.Scan([]byte{seedKind}, func(_, _ []byte) bool {
		found = true
		return false
	})
	return found
}

// held says whether nothing may be published yet.
func (o *Operator) held() bool {
	if !o.seeded {
		return false
	}
	gate := o.store.Get(gateKey)
	return gate != nil && gate[0] == gateHeld
}

// Release lets a held operator go; Advance then does the work. It returns false
// where nothing is held.
func (o *Operator) Release() bool {
	if !o.held() {
		return false
	}
	o.store.Put(gateKey, []byte{gateShows})
	return true
}

// fromSeed takes what an earlier generation has published of an entity over into
// the present one.
func (o *Operator) fromSeed(s scope, topic Topic, id change.ID) (sent, error) {
	if !o.seeded {
		return sent{}, nil
	}
	key := seedKey(topic, id, s.account())
	found, err := decodeSeed(o.store.Get(key))
	if err != nil || found.version == 0 {
		return sent{}, err
	}
	o.store.Delete(key)
	o.store.Put(sentKey(s, topic, id), found.sent.append(make([]byte, 0, 32)))
	return found.sent, nil
}

// Advance does a step of a rebuild that was let go: at most about budget
// documents or entities. done is true in the step that ends it.
func (o *Operator) Advance(budget int, out Output) (more, done bool, err error) {
	if !o.seeded {
		return false, false, nil
	}
	gate := o.store.Get(gateKey)
	if gate == nil || gate[0] == gateHeld {
		return false, false, nil
	}
	step, cursor := gate[0], bytes.Clone(gate[1:])
	kind := byte('x')
	if step == gateDrops {
		kind = seedKind
	}
	var keys [][]byte
	o.store.ScanFrom([]byte{kind}, cursor, func(key, _ []byte) bool {
		if !bytes.Equal(key, cursor) {
			keys = append(keys, bytes.Clone(key))
		}
		return len(keys) < budget
	})
	for _, key := range keys {
		if step == gateShows {
			o.dirty[string(key[1:])] = struct{}{}
		} else if err := o.drop(key, out); err != nil {
			return false, false, err
		}
	}
	if err := o.Flush(out); err != nil {
		return false, false, err
	}
	switch {
	case len(keys) >= budget:
		o.store.Put(gateKey, append([]byte{step}, keys[len(keys)-1]...))
	case step == gateShows:
		o.store.Put(gateKey, []byte{gateDrops})
	default:
		o.store.Delete(gateKey)
		return false, true, nil
	}
	return true, false, nil
}

// drop retires what an earlier generation has published and this one has not.
func (o *Operator) drop(key []byte, out Output) error {
	s, err := decodeSeed(o.store.Get(key))
	if err != nil || s.deleted || s.version == 0 {
		return err
	}
	topic, id, account := Topic(key[1]), change.ID(key[2:18]), change.ID(key[18:34])
	head := canonical.Envelope{EntityID: canonical.IDText(id), System: s.system, NativeID: s.nativeID, Deleted: true}
	if !account.IsZero() {
		text := canonical.IDText(account)
		head.AccountID = &text
	}
	last, err := o.record(topic, s.sent, canonical.Blank(topic.String(), head), out)
	if err != nil {
		return err
	}
	s.sent = last
	o.store.Put(key, s.append(nil))
	return nil
}
