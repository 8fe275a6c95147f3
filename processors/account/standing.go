package account

import (
	"cmp"
	"slices"
	"strings"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// standing is what a document still says. The order is that of preference: what
// is in force before what is only drafted, and never what is dead before what
// lives.
type standing uint8

const (
	inForce standing = iota
	drafted
	dead
)

// standings of phases. A phase that is not here, or none, is in force.
var standings = map[string]standing{
	canonical.PhaseDraft:     drafted,
	canonical.PhaseCancelled: dead,
	canonical.PhaseEnded:     dead,
	canonical.PhaseLost:      dead,
}

func (e *entry) standing() standing { return standings[e.phase()] }

// phase is the document's state in canonical words, "" where nothing tells it.
func (e *entry) phase() string {
	h := &e.doc.Header
	switch e.doc.Entity {
	case canonical.Opportunity:
		return h.Field(canonical.OpportunityPhase).Text()
	case canonical.Order:
		return orderPhase(h)
	case canonical.Subscription:
		return h.Field(canonical.SubscriptionPhase).Text()
	case canonical.Invoice:
		return h.Field(canonical.InvoicePhase).Text()
	default:
		return ""
	}
}

// cancelledWords are states of an order that stands no more, for catalogs that
// map no phase.
var cancelledWords = []string{
	"abandoned", "aborted", "annulled", "cancel", "canceled", "cancelled", "declined", "deleted", "expired", "lost", "refused", "rejected",
	"revoked", "void", "voided", "withdrawn",
}

// orderPhase is that of the catalog; where it maps none, a plain word for an
// order that is off is read as one, and of any other state nothing is concluded.
func orderPhase(h *change.Row) string {
	if phase := h.Field(canonical.OrderPhase); !phase.IsNull() {
		return phase.Text()
	}
	state := strings.ToLower(strings.TrimSpace(h.Field(canonical.OrderState).Text()))
	if slices.Contains(cancelledWords, state) {
		return canonical.PhaseCancelled
	}
	return ""
}

// prefer sorts documents of one entity, best first.
func prefer(all []*entry) { slices.SortStableFunc(all, preference) }

// preference compares two documents of one entity: by standing, then the one
// that was made first (without a time: last), then the smallest id.
func preference(a, b *entry) int {
	return cmp.Or(
		cmp.Compare(a.standing(), b.standing()),
		compareCreated(a.doc.Header.Times[change.Created], b.doc.Header.Times[change.Created]),
		canonical.CompareIDs(a.doc.ID, b.doc.ID),
		cmp.Compare(a.doc.System, b.doc.System),
	)
}

func compareCreated(a, b change.Instant) int {
	if a.IsZero() != b.IsZero() {
		if a.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Compare(a.Micros, b.Micros)
}

// entries are the documents under a join, best first.
func (o *Operator) entries(s scope, j join) ([]*entry, error) {
	docs := o.joined(s, j)
	all := make([]*entry, 0, len(docs))
	for _, d := range docs {
		e, err := o.effective(s, d)
		if err != nil {
			return nil, err
		}
		if e != nil {
			all = append(all, e)
		}
	}
	prefer(all)
	return all, nil
}
