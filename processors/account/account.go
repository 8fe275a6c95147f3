// Package account is the fourth hop's operator: the documents of one account,
// from all systems, become canonical entities, joined with each other and with
// nothing outside the account.
//
// A document can be seen under an account through more than one party (while it
// moves): entries are kept by document and party, the highest document version
// shows, and a retraction removes its own entry only.
package account

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Config names the systems by their roles.
type Config struct {
	Instances map[string]string   // instance by system
	Roles     map[string]string   // crm, subs or erp by system
	NameOwner string              // the system that owns an account's name
	Rounding  map[string]Rounding // by system; absent: the zero value
}

// The roles of systems.
const (
	RoleCRM  = "crm"
	RoleSubs = "subs"
	RoleERP  = "erp"
)

// Output takes canonical records whose image has changed.
type Output interface {
	// Record is one version of one entity; rec points to a canonical record and
	// encoded is its Avro form. Both are valid during the call only.
	Record(topic Topic, rec canonical.Versioned, encoded []byte)
}

// Operator is the operator of one task. State: under "e", scope, document and
// party the documents; under "i", scope, index, value and document the joins;
// under "x" what a document has put there; under "o" the version and image hash
// of everything sent; under "g" and "s" what a rebuild needs, see rebuild.go.
type Operator struct {
	config  *Config
	store   state.Store
	encoder *canonical.Encoder
	dirty   map[string]struct{} // scope + document
	// shown caches what effective has decoded, for one scope of one Flush: one
	// change reaches an invoice, its deal and its payments, and each asks.
	shown map[string]*entry
	arena change.Arena // holds what shown has decoded

	image, encoded []byte // scratch of publish
	seeded         bool   // the state is that of a second generation, see rebuild.go
}

// New returns the operator of one partition.
func New(config *Config, store state.Store) (*Operator, error) {
	encoder, err := canonical.NewEncoder()
	if err != nil {
		return nil, err
	}
	o := &Operator{config: config, store: store, encoder: encoder, dirty: map[string]struct{}{}, shown: map[string]*entry{}}
	o.seeded = o.rebuilt()
	return o, nil
}

// Reset forgets the documents touched since the last Flush.
func (o *Operator) Reset() {
	clear(o.dirty)
	o.forget()
}

// forget drops what was decoded for one scope.
func (o *Operator) forget() {
	clear(o.shown)
	o.arena.Reset()
}

// scope is what joins stay inside: an account (first byte 1, then its id), or
// for a document without a party the document itself (0, then its entity id).
type scope [17]byte

func accountScope(account change.ID) scope { return newScope(1, account) }
func orphanScope(entity change.ID) scope   { return newScope(0, entity) }

func newScope(kind byte, id change.ID) (s scope) {
	s[0] = kind
	copy(s[1:], id[:])
	return s
}

// account is the scope's account, zero for an orphan.
func (s scope) account() change.ID {
	if s[0] == 0 {
		return change.ID{}
	}
	return change.ID(s[1:])
}

// Apply takes one document, or its retraction, for an account; stored is
// change.AppendAccountDocument's form of it.
func (o *Operator) Apply(a *change.AccountDocument, stored []byte) change.Verdict {
	h, err := change.DecodeDocumentHead(a.Stored)
	if err != nil {
		return change.Stopped("state.corrupt", err)
	}
	instance, ok := o.config.Instances[h.System]
	if !ok {
		return change.Stopped("catalog.system", fmt.Errorf("a document of system %q, which the catalog does not have", h.System))
	}
	s := accountScope(a.Account)
	if a.Account.IsZero() {
		s = orphanScope(canonical.EntityID(instance, h.Entity, h.ID))
	}
	doc := docKey(h.Entity, h.System, h.ID)
	key := entryKey(s, doc, h.Party)
	if h.Retracted {
		o.store.Delete(key)
	} else {
		o.store.Put(key, stored)
	}
	o.dirty[string(s[:])+doc] = struct{}{}
	return change.Verdict{}
}

// work is what one Flush has to do inside one scope.
type work struct {
	scope scope
	docs  map[string]struct{} // documents whose entities may look different
	deals map[string]struct{} // opportunities (system, NUL, native id) whose deals may
	whole bool                // the account itself may
}

// Flush sends every entity that the batch's documents have changed.
func (o *Operator) Flush(out Output) error {
	var w *work
	held := o.held()
	finish := func() error {
		if w == nil || held {
			return nil
		}
		return o.finish(w, out)
	}
	for _, d := range slices.Sorted(maps.Keys(o.dirty)) {
		s := scope([]byte(d[:len(scope{})]))
		if w == nil || w.scope != s {
			if err := finish(); err != nil {
				return err
			}
			o.forget()
			w = &work{scope: s, docs: map[string]struct{}{}, deals: map[string]struct{}{}}
		}
		if err := o.touch(w, d[len(scope{}):], out); err != nil {
			return err
		}
	}
	clear(o.dirty)
	err := finish()
	o.forget()
	return err
}

// touch brings the joins up to date with one document and notes what it
// reaches, as it was and as it is.
func (o *Operator) touch(w *work, doc string, out Output) error {
	e, err := o.effective(w.scope, doc)
	if err != nil {
		return err
	}
	was, err := decodeTrace(o.store.Get(traceKey(w.scope, doc)))
	if err != nil {
		return err
	}
	now := o.trace(e)
	for _, j := range was.joins {
		if !slices.Contains(now.joins, j) {
			o.store.Delete(joinKey(w.scope, j, doc))
		}
	}
	for _, j := range now.joins {
		o.store.Put(joinKey(w.scope, j, doc), present)
	}
	entity, system, id := splitDocKey(doc)
	for _, p := range was.payments {
		if !slices.Contains(now.payments, p) {
			if err := o.retire(w.scope, TopicPayment, canonical.EntityID(o.config.Instances[system], canonical.Payment, p), system, p, out); err != nil {
				return err
			}
		}
	}
	if e == nil {
		o.store.Delete(traceKey(w.scope, doc))
	} else {
		o.store.Put(traceKey(w.scope, doc), now.append(make([]byte, 0, 64)))
	}
	w.docs[doc] = struct{}{}
	switch entity {
	case canonical.Party:
		w.whole = true
	case canonical.Opportunity:
		w.deals[dealKey(system, id)] = struct{}{}
	}
	for _, j := range append(was.joins, now.joins...) {
		if err := o.reach(w, j); err != nil {
			return err
		}
	}
	return nil
}

// reach notes what is joined through one value.
func (o *Operator) reach(w *work, j join) error {
	switch j.index {
	case joinOrderOpportunity:
		w.deals[j.value] = struct{}{}
	case joinOrderNumber:
		// The order's number ties subscriptions and invoices to its deal.
		for _, index := range []byte{joinSubscriptionOrder, joinInvoiceOrder} {
			for _, d := range o.joined(w.scope, join{index, j.value}) {
				w.docs[d] = struct{}{}
			}
		}
		return o.dealsOf(w, j.value)
	case joinSubscriptionOrder, joinInvoiceOrder:
		return o.dealsOf(w, j.value)
	case joinUnplaced: // it may belong to any of them
		o.store.Scan(entryKey(w.scope, canonical.Opportunity+"\x00", ""), func(key, _ []byte) bool {
			_, system, id := splitDocKey(string(key[1+len(w.scope):]))
			w.deals[dealKey(system, id)] = struct{}{}
			return true
		})
	case joinEntryLine:
		for _, d := range o.joined(w.scope, join{joinPaymentLine, j.value}) {
			w.docs[d] = struct{}{}
			if err := o.dealsOfDoc(w, d); err != nil {
				return err
			}
		}
	case joinEntry:
		for _, d := range o.joined(w.scope, join{joinInvoiceEntry, j.value}) {
			if err := o.dealsOfDoc(w, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// dealsOf notes the deals of the orders with a number.
func (o *Operator) dealsOf(w *work, number string) error {
	for _, d := range o.joined(w.scope, join{joinOrderNumber, number}) {
		if err := o.dealsOfDoc(w, d); err != nil {
			return err
		}
	}
	return nil
}

// dealsOfDoc notes the deals that a document's joins lead to.
func (o *Operator) dealsOfDoc(w *work, doc string) error {
	t, err := decodeTrace(o.store.Get(traceKey(w.scope, doc)))
	if err != nil {
		return err
	}
	for _, j := range t.joins {
		switch j.index {
		case joinOrderOpportunity:
			w.deals[j.value] = struct{}{}
		case joinInvoiceOrder, joinSubscriptionOrder:
			if err := o.dealsOf(w, j.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish sends what a scope's changes have reached, in a fixed order.
func (o *Operator) finish(w *work, out Output) error {
	for _, doc := range slices.Sorted(maps.Keys(w.docs)) {
		if err := o.send(w.scope, doc, out); err != nil {
			return err
		}
	}
	for _, deal := range slices.Sorted(maps.Keys(w.deals)) {
		if err := o.sendDeal(w.scope, deal, out); err != nil {
			return err
		}
	}
	if w.whole {
		return o.sendAccount(w.scope, out)
	}
	return nil
}

// entry is a document as it is seen under an account.
type entry struct {
	account change.ID
	link    *change.Link
	doc     change.Document
	sums    *figures // of an invoice, once asked for
}

// currency is the code of a document's currency.
func (e *entry) currency() string {
	field, ok := currencyFields[e.doc.Entity]
	if !ok {
		return ""
	}
	return e.doc.Header.Field(field).Text()
}

var currencyFields = map[string]int{
	canonical.Opportunity: canonical.OpportunityCurrency, canonical.Order: canonical.OrderCurrency,
	canonical.Subscription: canonical.SubscriptionCurrency, canonical.Invoice: canonical.InvoiceCurrency,
}

// effective returns the document that shows, or nil: of those that came through
// several parties the one with the highest version.
func (o *Operator) effective(s scope, doc string) (*entry, error) {
	if e, ok := o.shown[doc]; ok {
		return e, nil
	}
	e, err := o.find(s, doc)
	if err == nil {
		o.shown[doc] = e
	}
	return e, err
}

func (o *Operator) find(s scope, doc string) (*entry, error) {
	var found [][]byte
	var one [1][]byte // nearly always
	found = one[:0]
	o.store.Scan(entryKey(s, doc, ""), func(_, value []byte) bool {
		found = append(found, value)
		return true
	})
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // nothing shows
	}
	best := found[0]
	var version uint64
	for i := range found {
		if len(found) == 1 {
			break
		}
		a, err := change.DecodeAccountDocument(found[i])
		if err != nil {
			return nil, err
		}
		h, err := change.DecodeDocumentHead(a.Stored)
		if err != nil {
			return nil, err
		}
		if h.Version > version {
			best, version = found[i], h.Version
		}
	}
	return o.decodeEntry(best)
}

func (o *Operator) decodeEntry(b []byte) (*entry, error) {
	a, err := change.DecodeAccountDocument(b)
	if err != nil {
		return nil, err
	}
	doc, err := o.arena.Document(a.Stored)
	if err != nil {
		return nil, err
	}
	return &entry{account: a.Account, link: a.Link, doc: doc}, nil
}

// joined lists the documents under a join's value, numerically smallest id
// first.
func (o *Operator) joined(s scope, j join) []string {
	var docs []string
	prefix := joinKey(s, j, "")
	o.store.Scan(prefix, func(key, _ []byte) bool {
		docs = append(docs, string(key[len(prefix):]))
		return true
	})
	if len(docs) < 2 {
		return docs
	}
	slices.SortStableFunc(docs, func(a, b string) int {
		_, sa, ia := splitDocKey(a)
		_, sb, ib := splitDocKey(b)
		return cmp.Or(canonical.CompareIDs(ia, ib), cmp.Compare(sa, sb))
	})
	return docs
}

func docKey(entity, system, id string) string {
	var size [2]byte
	binary.BigEndian.PutUint16(size[:], uint16(len(id))) //nolint:gosec // ids are bounded where they are decoded
	return entity + "\x00" + system + "\x00" + string(size[:]) + id
}

// present is the value of a key that says all by being there.
var present = []byte{1}
