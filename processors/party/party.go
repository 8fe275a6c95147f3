// Package party is the third hop's operator: it computes which account a native
// customer belongs to and sends the customer's documents there.
//
// The account is computed from the party's own identifiers alone, so nobody has
// to be asked and nothing has to come first. When it changes, the party's
// documents move: retracted from the old account and sent to the new one, a
// bounded number per transaction.
package party

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Output takes documents for accounts.
type Output interface {
	// Account is one document, or its retraction, for the account it names.
	Account(h change.DocumentHead, a *change.AccountDocument)
}

// Operator is the operator of one task. State: under "p" and party what is
// known of it; under "d", party and document the document as last sent; under
// "w" the parties whose documents are still to move, with the place reached.
type Operator struct {
	identity *Identity
	store    state.Store
}

// New returns the operator of one partition.
func New(identity *Identity, store state.Store) *Operator {
	return &Operator{identity: identity, store: store}
}

// known is what the operator remembers of a party.
type known struct {
	account change.ID
	link    *change.Link // nil while the party's own row is not there
}

// Apply takes one document; stored is its stored form.
func (o *Operator) Apply(h change.DocumentHead, stored []byte, out Output) change.Verdict {
	if h.Party == "" {
		out.Account(h, &change.AccountDocument{Stored: stored})
		return change.Verdict{}
	}
	if _, ok := o.identity.Instances[h.System]; !ok {
		return change.Stopped("catalog.system", fmt.Errorf("a document of system %q, which the catalog does not have", h.System))
	}
	party := partyKey(h.System, h.Party)
	was, err := o.party(party, h.System, h.Party)
	if err != nil {
		return change.Stopped("state.corrupt", err)
	}
	now := was
	if h.Entity == canonical.Party {
		if now, err = o.compute(h, stored); err != nil {
			return change.Stopped("state.corrupt", err)
		}
		o.store.Put(append([]byte{'p'}, party...), now.append(nil))
		if now.account != was.account {
			o.store.Put(append([]byte{'w'}, party...), []byte{0})
		}
	}
	key := docKey(party, h)
	old := o.store.Get(key)
	if h.Retracted {
		if old != nil {
			out.Account(h, &change.AccountDocument{Account: change.ID(old[:16]), Stored: stored})
			o.store.Delete(key)
		}
		return change.Verdict{}
	}
	if old != nil && change.ID(old[:16]) != now.account {
		retract(h, change.ID(old[:16]), out)
	}
	o.store.Put(key, slices.Concat(now.account[:], stored))
	out.Account(h, o.document(h, now, stored))
	return change.Verdict{}
}

// Advance moves at most about budget documents of parties whose account has
// changed, and says whether more are to move.
func (o *Operator) Advance(budget int, out Output) (more bool, err error) {
	for budget > 0 {
		var work, from []byte
		o.store.Scan([]byte{'w'}, func(key, value []byte) bool {
			work, from = slices.Clone(key), slices.Clone(value[1:])
			return false
		})
		if work == nil {
			return false, nil
		}
		party := work[1:]
		p, err := decodeKnown(o.store.Get(append([]byte{'p'}, party...)))
		if err != nil {
			return false, err
		}
		type document struct{ key, value []byte }
		var batch []document
		looked := 0
		o.store.ScanFrom(append([]byte{'d'}, party...), from, func(key, value []byte) bool {
			if looked++; looked > budget {
				from = slices.Clone(key)
				return false
			}
			if !bytes.Equal(value[:16], p.account[:]) {
				batch = append(batch, document{slices.Clone(key), slices.Clone(value)})
			}
			return true
		})
		for _, d := range batch {
			h, err := change.DecodeDocumentHead(d.value[16:])
			if err != nil {
				return false, err
			}
			retract(h, change.ID(d.value[:16]), out)
			copy(d.value, p.account[:])
			o.store.Put(d.key, d.value)
			out.Account(h, o.document(h, p, d.value[16:]))
		}
		if looked > budget {
			o.store.Put(work, append([]byte{0}, from...))
			return true, nil
		}
		o.store.Delete(work)
		budget -= looked
	}
	o.store.Scan([]byte{'w'}, func(_, _ []byte) bool { more = true; return false })
	return more, nil
}

func retract(h change.DocumentHead, from change.ID, out Output) {
	h.Retracted = true
	out.Account(h, &change.AccountDocument{Account: from, Stored: change.AppendDocument(nil, h, nil)})
}

func (o *Operator) document(h change.DocumentHead, p known, stored []byte) *change.AccountDocument {
	a := &change.AccountDocument{Account: p.account, Stored: stored}
	if h.Entity == canonical.Party {
		a.Link = p.link
	}
	return a
}

func (o *Operator) party(key []byte, system, id string) (known, error) {
	if b := o.store.Get(append([]byte{'p'}, key...)); b != nil {
		return decodeKnown(b)
	}
	return known{account: o.identity.account(system, id)}, nil
}

// compute finds a party's account from its own document.
//
// Only identifiers of other systems' parties are followed, and they name master
// parties only: there are no chains, so there can be no circle. A master party
// that carries a reference, to itself or to another, stays its own account.
func (o *Operator) compute(h change.DocumentHead, stored []byte) (known, error) {
	k := known{account: o.identity.account(h.System, h.ID)}
	if h.Retracted {
		return k, nil
	}
	doc, err := change.DecodeDocument(stored)
	if err != nil {
		return k, err
	}
	k.link = &change.Link{Rule: change.RuleNone, Since: doc.Header.Times[change.Created]}
	if h.System == o.identity.Master {
		k.link.Rule = change.RuleMaster
		return k, nil
	}
	best := ""
	var ignored []string
	for i := range doc.Children {
		c := &doc.Children[i]
		if c.Part != canonical.PartIdentifier {
			continue
		}
		code := c.Field(canonical.IdentifierCode).Text()
		id, ok := o.identity.named(code)
		if !ok {
			continue
		}
		// Two identifiers that name the same party: the earlier one counts.
		if best != "" && (canonical.CompareIDs(id, best) > 0 || id == best && c.Since.Micros >= k.link.Since.Micros) {
			ignored = append(ignored, code)
			continue
		}
		if best != "" {
			ignored = append(ignored, k.link.Reference)
		}
		best = id
		k.link.Rule, k.link.Reference, k.link.Since = change.RuleReference, code, c.Since
	}
	if best != "" {
		k.account = canonical.EntityID(o.identity.Instances[o.identity.Master], canonical.Party, best)
	}
	slices.Sort(ignored)
	k.link.Ignored = ignored
	return k, nil
}

func partyKey(system, id string) []byte {
	b := append([]byte(system), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(id))) //nolint:gosec // ids are bounded where they are decoded
	return append(b, id...)
}

func docKey(party []byte, h change.DocumentHead) []byte {
	b := append([]byte{'d'}, party...)
	b = append(append(b, h.Entity...), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.ID))) //nolint:gosec // as above
	return append(b, h.ID...)
}

func (k known) append(b []byte) []byte {
	b = append(b, k.account[:]...)
	if k.link == nil {
		return b
	}
	return change.AppendLink(b, k.link)
}

var errKnown = errors.New("the stored account of a party is cut short")

func decodeKnown(b []byte) (known, error) {
	if len(b) < 16 {
		return known{}, errKnown
	}
	k := known{account: change.ID(b[:16])}
	if len(b) == 16 {
		return k, nil
	}
	l, err := change.DecodeLink(b[16:])
	k.link = &l
	return k, err
}
