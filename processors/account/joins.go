package account

import (
	"encoding/binary"
	"errors"
	"strings"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// The joins of an account: each is an index from a value to documents. Their
// bytes are stored.
const (
	joinOrderOpportunity  = 'o' // order, by the opportunity it comes from
	joinOrderNumber       = 'n' // order, by its number
	joinSubscriptionOrder = 's' // subscription, by the number of its order
	joinInvoiceOrder      = 'v' // invoice, by the number of its order
	joinPaymentLine       = 'p' // invoice, by a journal entry line that pays it
	joinInvoiceEntry      = 'j' // invoice, by the journal entry that posted it
	joinEntryLine         = 'l' // journal entry, by its lines
	joinEntry             = 'e' // journal entry, by itself
	joinUnplaced          = 'u' // order, subscription or invoice, by the empty text: what it belongs to was refused
)

type join struct {
	index byte
	value string
}

// trace is what a document has put into joins and payments, so that its next
// image, or its going, can take it back.
type trace struct {
	joins    []join
	payments []string // native ids of payment rows
}

func (o *Operator) trace(e *entry) trace {
	var t trace
	if e == nil {
		return t
	}
	h := &e.doc.Header
	add := func(index byte, value string) { t.joins = append(t.joins, join{index, value}) }
	byField := func(index byte, field int) {
		if v := h.Field(field); len(v.Bytes) > 0 { // an empty number names nothing
			add(index, v.Text())
		}
	}
	unplaced := func(fields ...int) {
		if refuses(h, fields...) {
			add(joinUnplaced, "")
		}
	}
	switch e.doc.Entity {
	case canonical.Order:
		if v := h.Field(canonical.OrderOpportunity); !v.IsNull() {
			add(joinOrderOpportunity, dealKey(e.doc.System, v.Text()))
		}
		byField(joinOrderNumber, canonical.OrderNumber)
		unplaced(canonical.OrderOpportunity, canonical.OrderNumber)
	case canonical.Subscription:
		byField(joinSubscriptionOrder, canonical.SubscriptionOrderNumber)
		unplaced(canonical.SubscriptionOrderNumber)
	case canonical.Invoice:
		byField(joinInvoiceOrder, canonical.InvoiceOrderNumber)
		unplaced(canonical.InvoiceOrderNumber)
		if v := h.Field(canonical.InvoiceEntry); !v.IsNull() {
			add(joinInvoiceEntry, dealKey(e.doc.System, v.Text()))
		}
		for i := range e.doc.Children {
			c := &e.doc.Children[i]
			if c.Part != canonical.PartPayment {
				continue
			}
			t.payments = append(t.payments, c.ID)
			if v := c.Field(canonical.PaymentLine); !v.IsNull() {
				add(joinPaymentLine, dealKey(e.doc.System, v.Text()))
			}
		}
	case canonical.Entry:
		add(joinEntry, dealKey(e.doc.System, e.doc.ID))
		for i := range e.doc.Children {
			add(joinEntryLine, dealKey(e.doc.System, e.doc.Children[i].ID))
		}
	}
	return t
}

// dealKey names a row of a system: a deal by its opportunity, an entry, a line.
func dealKey(system, id string) string { return system + "\x00" + id }

func splitDealKey(k string) (system, id string) {
	system, id, _ = strings.Cut(k, "\x00")
	return system, id
}

// splitDocKey takes a document's key apart; more may follow it.
func splitDocKey(doc string) (entity, system, id string) {
	entity, rest, _ := strings.Cut(doc, "\x00")
	system, rest, _ = strings.Cut(rest, "\x00")
	size := int(rest[0])<<8 | int(rest[1])
	return entity, system, rest[2 : 2+size]
}

// scopeKey begins a key of a scope with room for the rest.
func scopeKey(kind byte, s scope, room int) []byte {
	return append(append(make([]byte, 0, 1+len(s)+room), kind), s[:]...)
}

func entryKey(s scope, doc, via string) []byte {
	b := scopeKey('e', s, len(doc)+len(via))
	return append(append(b, doc...), via...)
}

func joinKey(s scope, j join, doc string) []byte {
	b := append(scopeKey('i', s, 3+len(j.value)+len(doc)), j.index)
	b = binary.BigEndian.AppendUint16(b, uint16(len(j.value))) //nolint:gosec // bounded where values are decoded
	return append(append(b, j.value...), doc...)
}

func traceKey(s scope, doc string) []byte {
	return append(scopeKey('x', s, len(doc)), doc...)
}

func (t trace) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.joins)))
	for _, j := range t.joins {
		b = append(b, j.index)
		b = binary.AppendUvarint(b, uint64(len(j.value)))
		b = append(b, j.value...)
	}
	for _, p := range t.payments {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

var errTrace = errors.New("the stored joins of a document are cut short")

func decodeTrace(b []byte) (trace, error) {
	var t trace
	if b == nil {
		return t, nil
	}
	n, w := binary.Uvarint(b)
	if w <= 0 {
		return t, errTrace
	}
	b = b[w:]
	text := func() (string, bool) {
		size, w := binary.Uvarint(b)
		if w <= 0 || size > uint64(len(b)-w) {
			return "", false
		}
		s := string(b[w : w+int(size)]) //nolint:gosec // at most len(b)
		b = b[w+int(size):]             //nolint:gosec // as above
		return s, true
	}
	for range n {
		if len(b) == 0 {
			return t, errTrace
		}
		j := join{index: b[0]}
		b = b[1:]
		var ok bool
		if j.value, ok = text(); !ok {
			return t, errTrace
		}
		t.joins = append(t.joins, j)
	}
	for len(b) > 0 {
		p, ok := text()
		if !ok {
			return t, errTrace
		}
		t.payments = append(t.payments, p)
	}
	return t, nil
}

// latest keeps the greatest commit time and position among rows.
type latest struct {
	micros int64
	pos    change.Position
}

func (l *latest) row(r *change.Row) {
	l.micros = max(l.micros, r.Commit.Micros)
	if r.Pos.Compare(l.pos) > 0 {
		l.pos = r.Pos
	}
}

func (l *latest) document(d *change.Document) {
	l.row(&d.Header)
	for i := range d.Children {
		l.row(&d.Children[i])
	}
}
