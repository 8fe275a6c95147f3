package account

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Topic is one canonical entity with a topic of its own. Its number is stored.
type Topic byte

// The canonical topics.
const (
	TopicAccount Topic = iota + 1
	TopicIdentityLink
	TopicProduct
	TopicOpportunity
	TopicOrder
	TopicSubscription
	TopicInvoice
	TopicPayment
	TopicDeal
)

var topicNames = map[Topic]string{
	TopicAccount: "account", TopicIdentityLink: "identity_link", TopicProduct: "product", TopicOpportunity: "opportunity",
	TopicOrder: "order", TopicSubscription: "subscription", TopicInvoice: "invoice", TopicPayment: "payment", TopicDeal: "deal",
}

// String is the entity's name, as in schemas/avsc.
func (t Topic) String() string { return topicNames[t] }

// Topics lists them all.
func Topics() []Topic {
	return []Topic{TopicAccount, TopicIdentityLink, TopicProduct, TopicOpportunity, TopicOrder, TopicSubscription, TopicInvoice, TopicPayment, TopicDeal}
}

// sent is what the operator remembers of an entity's last record.
type sent struct {
	version int64
	hash    [16]byte // of the image without its version
	deleted bool
}

// publish sends a record if its image without the version differs from the last
// one sent.
func (o *Operator) publish(s scope, topic Topic, id change.ID, rec canonical.Versioned, out Output) error {
	key := sentKey(s, topic, id)
	last, err := decodeSent(o.store.Get(key))
	if err == nil && last.version == 0 {
		last, err = o.fromSeed(s, topic, id)
	}
	if err != nil {
		return err
	}
	next, err := o.record(topic, last, rec, out)
	if err == nil && next != last {
		o.store.Put(key, next.append(make([]byte, 0, 32)))
	}
	return err
}

// record sends a record if its image differs from the last one sent, and returns
// what has been sent of the entity now.
func (o *Operator) record(topic Topic, last sent, rec canonical.Versioned, out Output) (next sent, err error) {
	if rec, err = o.encode(topic, rec); err != nil {
		return last, fmt.Errorf("encoding %s %s: %w", topic, rec.Head().EntityID, err)
	}
	head := rec.Head()
	sum := sha256.Sum256(o.image)
	next = sent{version: last.version + 1, hash: [16]byte(sum[:16]), deleted: head.Deleted}
	if last.version > 0 && next.hash == last.hash {
		return last, nil
	}
	head.Version = next.version
	if o.encoded, err = canonical.AppendVersion(o.encoded[:0], o.image, next.version); err != nil {
		return last, fmt.Errorf("encoding %s %s: %w", topic, head.EntityID, err)
	}
	out.Record(topic, rec, o.encoded)
	return next, nil
}

// maxImage bounds a record, so that a broker takes it with its key and frame.
const maxImage = 960 << 10

// encode makes the image of a record without its version. No value may stop the
// task: a record that is too large goes without its lists, and one that even so
// cannot be sent with no more than what it is and why.
func (o *Operator) encode(topic Topic, rec canonical.Versioned) (canonical.Versioned, error) {
	var err error
	try := func() bool {
		rec.Head().Version = 0
		o.image, err = o.encoder.Encode(o.image[:0], rec)
		return err == nil && len(o.image) <= maxImage
	}
	if try() {
		return rec, nil
	}
	if err == nil {
		mark(rec, fmt.Sprintf("the record would have %d bytes, the limit is %d: it goes without its lists", len(o.image), maxImage))
		dropLists(rec)
		if try() {
			return rec, nil
		}
	}
	why := fmt.Sprintf("the record would have %d bytes, the limit is %d", len(o.image), maxImage)
	if err != nil {
		why = err.Error()
	}
	rec = canonical.Blank(topic.String(), *rec.Head())
	mark(rec, why)
	if !try() && err == nil {
		err = fmt.Errorf("%d bytes without any field", len(o.image))
	}
	return rec, err
}

// mark says that a record is not complete.
func mark(rec canonical.Versioned, why string) {
	complete, reason := completeness(rec)
	var l lack
	if *reason != nil {
		l.add(**reason)
	}
	l.add(why)
	*complete, *reason = false, l.text()
}

func completeness(rec canonical.Versioned) (complete *bool, reason **string) {
	switch r := rec.(type) {
	case *canonical.AccountRecord:
		return &r.Complete, &r.IncompleteReason
	case *canonical.IdentityLinkRecord:
		return &r.Complete, &r.IncompleteReason
	case *canonical.ProductRecord:
		return &r.Complete, &r.IncompleteReason
	case *canonical.OpportunityRecord:
		return &r.Complete, &r.IncompleteReason
	case *canonical.OrderRecord:
		return &r.Complete, &r.IncompleteReason
	case *canonical.SubscriptionRecord:
		return &r.Complete, &r.IncompleteReason
	case *canonical.InvoiceRecord:
		return &r.Complete, &r.IncompleteReason
	case *canonical.PaymentRecord:
		return &r.Complete, &r.IncompleteReason
	case *canonical.DealRecord:
		return &r.Complete, &r.IncompleteReason
	default:
		var none struct {
			complete bool
			reason   *string
		}
		return &none.complete, &none.reason
	}
}

// dropLists empties what grows with the number of rows.
func dropLists(rec canonical.Versioned) {
	switch r := rec.(type) {
	case *canonical.AccountRecord:
		r.CRMIDs, r.SubsIDs, r.ERPIDs, r.Addresses, r.Contacts = nil, nil, nil, nil, nil
	case *canonical.IdentityLinkRecord:
		r.IgnoredReferences = nil
	case *canonical.OpportunityRecord:
		r.Lines = nil
	case *canonical.OrderRecord:
		r.Lines = nil
	case *canonical.SubscriptionRecord:
		r.Lines = nil
	case *canonical.InvoiceRecord:
		r.Lines = nil
	case *canonical.DealRecord:
		r.OtherOrderNumbers, r.OtherSubscriptionNumbers, r.OtherInvoiceNumbers = nil, nil, nil
	}
}

// retire says that an entity is no longer seen under the account: a deletion
// with a version, if it was ever seen.
func (o *Operator) retire(s scope, topic Topic, id change.ID, system, nativeID string, out Output) error {
	last, err := decodeSent(o.store.Get(sentKey(s, topic, id)))
	if err != nil || last.version == 0 || last.deleted {
		return err
	}
	head := envelope(s, id, system, nativeID)
	head.Deleted = true
	return o.publish(s, topic, id, canonical.Blank(topic.String(), head), out)
}

func sentKey(s scope, topic Topic, id change.ID) []byte {
	b := append(make([]byte, 0, 2+len(s)+len(id)), 'o')
	return append(append(append(b, s[:]...), byte(topic)), id[:]...)
}

func envelope(s scope, id change.ID, system, nativeID string) canonical.Envelope {
	e := canonical.Envelope{EntityID: canonical.IDText(id), System: system, NativeID: nativeID}
	if a := s.account(); !a.IsZero() {
		t := canonical.IDText(a)
		e.AccountID = &t
	}
	return e
}

func (s sent) append(b []byte) []byte {
	flags := byte(0)
	if s.deleted {
		flags = 1
	}
	b = append(append(b, flags), s.hash[:]...)
	return binary.AppendVarint(b, s.version)
}

var errSent = errors.New("the stored version of an entity is cut short")

func decodeSent(b []byte) (sent, error) {
	if b == nil {
		return sent{}, nil
	}
	if len(b) < 18 {
		return sent{}, errSent
	}
	s := sent{deleted: b[0] != 0, hash: [16]byte(b[1:17])}
	v, w := binary.Varint(b[17:])
	if w <= 0 {
		return sent{}, errSent
	}
	s.version = v
	return s, nil
}
