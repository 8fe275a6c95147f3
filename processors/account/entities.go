package account

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// send brings a document's canonical records up to date.
func (o *Operator) send(s scope, doc string, out Output) error {
	e, err := o.effective(s, doc)
	if err != nil {
		return err
	}
	entity, system, id := splitDocKey(doc)
	topic, ok := entityTopics[entity]
	if !ok {
		return nil // journal entries and references have no records of their own
	}
	eid := o.id(system, entity, id)
	if e == nil {
		return o.retire(s, topic, eid, system, id, out)
	}
	var l latest
	l.document(&e.doc)
	head := envelope(s, eid, system, id)
	var rec canonical.Versioned
	switch topic {
	case TopicIdentityLink:
		rec = identityLink(e, head)
	case TopicProduct:
		rec = o.product(e, head)
	case TopicOpportunity:
		rec = o.opportunity(e, head)
	case TopicOrder:
		rec = o.order(e, head)
	case TopicSubscription:
		rec, err = o.subscription(s, e, head)
	case TopicInvoice:
		rec, err = o.invoice(s, e, head, &l, out)
	}
	if err != nil {
		return err
	}
	rec.Head().UpdatedAt, rec.Head().SourcePosition = instant(l.micros), text(l.pos.String())
	return o.publish(s, topic, eid, rec, out)
}

var entityTopics = map[string]Topic{
	canonical.Party: TopicIdentityLink, canonical.Product: TopicProduct, canonical.Opportunity: TopicOpportunity,
	canonical.Order: TopicOrder, canonical.Subscription: TopicSubscription, canonical.Invoice: TopicInvoice,
}

func (o *Operator) id(system, entity, nativeID string) change.ID {
	return canonical.EntityID(o.config.Instances[system], entity, nativeID)
}

func identityLink(e *entry, head canonical.Envelope) canonical.Versioned {
	l := e.link
	if l == nil {
		l = &change.Link{}
	}
	lacks := rowsLack(&e.doc)
	r := &canonical.IdentityLinkRecord{
		Envelope: head, Rule: l.Rule, LinkedAt: instant(l.Since.Micros), Approximate: l.Since.Approximate, Reference: nil, IgnoredReferences: l.Ignored,
		Complete: lacks.none(), IncompleteReason: lacks.text(),
	}
	if l.Reference != "" {
		r.Reference = &l.Reference
	}
	r.CopyFrom(&e.doc.Header)
	return r
}

func (o *Operator) product(e *entry, head canonical.Envelope) canonical.Versioned {
	h := &e.doc.Header
	lacks := rowsLack(&e.doc)
	r := &canonical.ProductRecord{
		Envelope: head, OfID: o.ref(e.doc.System, canonical.Product, h.Field(canonical.ProductOf)), Complete: lacks.none(), IncompleteReason: lacks.text(),
	}
	r.CopyFrom(h)
	return r
}

func (o *Operator) opportunity(e *entry, head canonical.Envelope) canonical.Versioned {
	h := &e.doc.Header
	created := h.Times[change.Created]
	lacks := rowsLack(&e.doc)
	r := &canonical.OpportunityRecord{
		Envelope: head, DealID: &head.EntityID, CreatedAt: instant(created.Micros), Approximate: created.Approximate, Lines: o.lines(e, &lacks),
		Complete: false, IncompleteReason: nil, // below
	}
	lacks.copied(r.CopyFrom(h))
	r.Complete, r.IncompleteReason = lacks.none(), lacks.text()
	return r
}

func (o *Operator) order(e *entry, head canonical.Envelope) canonical.Versioned {
	h := &e.doc.Header
	lacks := rowsLack(&e.doc)
	r := &canonical.OrderRecord{
		Envelope: head, DealID: o.ref(e.doc.System, canonical.Opportunity, h.Field(canonical.OrderOpportunity)), Phase: nil,
		CreatedAt: instant(h.Times[change.Created].Micros), Lines: o.lines(e, &lacks), Flags: currencyFlags(e), Complete: false, IncompleteReason: nil, // below
	}
	lacks.copied(r.CopyFrom(h))
	if p := e.phase(); p != "" {
		r.Phase = &p
	}
	r.Net = o.orderNet(e, &lacks).publish()
	r.Complete, r.IncompleteReason = lacks.none(), lacks.text()
	return r
}

// orderNet is the order's own net amount, else the sum of its lines.
func (o *Operator) orderNet(e *entry, l *lack) total {
	return o.netOf(e, l, canonical.OrderNet, canonical.OrderCurrency, func(t total) total { return t })
}

// netOf is the amount of a header's field, else what the sum of the lines comes
// to. A refused field shows the value that it had before.
func (o *Operator) netOf(e *entry, l *lack, field, currency int, of func(total) total) total {
	h := &e.doc.Header
	net := own(h, field)
	switch {
	case !h.Field(field).IsNull():
		net.unknown = false
	case !net.unknown:
		net = o.lineSum(e, e.currency())
		net.unknown = net.unknown || refuses(h, currency)
		net = of(net)
	}
	l.hold("net", &net)
	return net
}

func (o *Operator) subscription(s scope, e *entry, head canonical.Envelope) (canonical.Versioned, error) {
	h := &e.doc.Header
	lacks := rowsLack(&e.doc)
	r := &canonical.SubscriptionRecord{
		Envelope: head, DealID: nil, CreatedAt: instant(h.Times[change.Created].Micros), Lines: o.lines(e, &lacks), Flags: currencyFlags(e),
		Complete: false, IncompleteReason: nil, // below
	}
	lacks.copied(r.CopyFrom(h))
	r.MonthlyNet = o.monthlyNet(e, &lacks).publish()
	r.Complete, r.IncompleteReason = lacks.none(), lacks.text()
	var err error
	r.DealID, err = o.dealOfOrder(s, r.OrderNumber)
	return r, err
}

// monthlyNet is the subscription's own amount for a month, else what the sum of
// its lines, which is for one period, comes to in a month.
func (o *Operator) monthlyNet(e *entry, l *lack) total {
	return o.netOf(e, l, canonical.SubscriptionMonthlyNet, canonical.SubscriptionCurrency, func(t total) total {
		h := &e.doc.Header
		p, err := parsePeriod(h.Field(canonical.SubscriptionRecurrence).Text())
		if interval := h.Field(canonical.SubscriptionRecurrenceInterval); err == nil && !interval.IsNull() {
			p, err = p.times(wholeNumber(interval))
		}
		if err != nil {
			l.add(fmt.Sprintf("recurrence: %v", err))
			t.unknown = true
		}
		if refuses(h, canonical.SubscriptionRecurrence, canonical.SubscriptionRecurrenceInterval) {
			t.unknown = true
		}
		if !t.unknown {
			t.Decimal = p.monthly(t.Decimal)
		}
		return t
	})
}

// wholeNumber is a small whole number, 0 where it is none.
func wholeNumber(v change.Value) int64 {
	n := number(v)
	if !n.IsInteger() || n.Abs().GreaterThan(decimal.New(maxPeriod, 0)) {
		return 0
	}
	return n.IntPart()
}

// currencyFlags tells a currency by whose minor units nothing can be rounded.
func currencyFlags(e *entry) []string {
	if _, known := minorUnits(e.currency()); !known {
		return []string{FlagUnknownCurrency}
	}
	return nil
}

func (o *Operator) lines(e *entry, l *lack) []canonical.Line {
	var lines []canonical.Line
	for i := range e.doc.Children {
		c := &e.doc.Children[i]
		if c.Part != canonical.PartLine {
			continue
		}
		line := canonical.Line{NativeID: c.ID, ProductID: o.ref(e.doc.System, canonical.Product, c.Field(canonical.LineProduct))}
		l.copied(line.CopyFrom(c))
		lines = append(lines, line)
	}
	return lines
}

// sendAccount brings the account's own record up to date.
func (o *Operator) sendAccount(s scope, out Output) error {
	account := s.account()
	if account.IsZero() {
		return nil
	}
	var parties []*entry
	var err error
	o.store.Scan(entryKey(s, canonical.Party+"\x00", ""), func(_, value []byte) bool {
		var e *entry
		if e, err = o.decodeEntry(value); err != nil {
			return false
		}
		parties = append(parties, e)
		return true
	})
	if err != nil {
		return err
	}
	if len(parties) == 0 {
		return o.retire(s, TopicAccount, account, "", "", out)
	}
	slices.SortStableFunc(parties, func(a, b *entry) int {
		return cmp.Or(
			cmp.Compare(o.rank(a.doc.System), o.rank(b.doc.System)),
			cmp.Compare(a.doc.System, b.doc.System),
			canonical.CompareIDs(a.doc.ID, b.doc.ID),
		)
	})
	r := &canonical.AccountRecord{
		Envelope: envelope(s, account, parties[0].doc.System, parties[0].doc.ID),
		CRMID:    nil, SubsID: nil, ERPID: nil, CRMIDs: nil, SubsIDs: nil, ERPIDs: nil, Addresses: nil, Contacts: nil, // below
		Complete: false, IncompleteReason: nil,
	}
	r.CopyFrom(&parties[0].doc.Header)
	var l latest
	var lacks lack
	for _, p := range parties {
		l.document(&p.doc)
		lacks.join(p.doc.System+" "+p.doc.ID, rowsLack(&p.doc))
		ids, first := &r.CRMIDs, &r.CRMID
		switch o.config.Roles[p.doc.System] {
		case RoleSubs:
			ids, first = &r.SubsIDs, &r.SubsID
		case RoleERP:
			ids, first = &r.ERPIDs, &r.ERPID
		}
		*ids = append(*ids, p.doc.ID)
		if *first == nil {
			*first = &p.doc.ID
		}
		for i := range p.doc.Children {
			c := &p.doc.Children[i]
			switch c.Part {
			case canonical.PartAddress:
				a := canonical.Address{System: c.System, NativeID: c.ID}
				a.CopyFrom(c)
				r.Addresses = append(r.Addresses, a)
			case canonical.PartContact:
				contact := canonical.Contact{System: c.System, NativeID: c.ID}
				contact.CopyFrom(c)
				r.Contacts = append(r.Contacts, contact)
			}
		}
	}
	r.Complete, r.IncompleteReason = lacks.none(), lacks.text()
	r.UpdatedAt = instant(l.micros)
	return o.publish(s, TopicAccount, account, r, out)
}

// rank orders systems by whose name an account bears: its owner's, else by role.
func (o *Operator) rank(system string) int {
	if system == o.config.NameOwner {
		return 0
	}
	switch o.config.Roles[system] {
	case RoleCRM:
		return 1
	case RoleERP:
		return 2
	default:
		return 3
	}
}

// ref is the entity id of the row that a field names, nil for NULL.
func (o *Operator) ref(system, entity string, v change.Value) *string {
	if v.IsNull() {
		return nil
	}
	t := canonical.IDText(o.id(system, entity, v.Text()))
	return &t
}

func textOf(v change.Value) *string {
	if v.Kind != change.String {
		return nil
	}
	return text(v.Text())
}

func text(s string) *string { return &s }

func instant(micros int64) *int64 {
	if micros == 0 {
		return nil
	}
	return &micros
}

func dateOf(v change.Value) *int32 {
	if v.Kind != change.Date {
		return nil
	}
	d := int32(v.Int) //nolint:gosec // Avro dates are 32 bits
	return &d
}
