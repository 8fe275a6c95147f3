package account

import (
	"cmp"
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
	var rec Versioned
	switch topic {
	case TopicIdentityLink:
		rec = identityLink(e, head)
	case TopicProduct:
		rec = o.product(e, head)
	case TopicOpportunity:
		rec, err = o.opportunity(e, head)
	case TopicOrder:
		rec, err = o.order(e, head)
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

func identityLink(e *entry, head canonical.Envelope) Versioned {
	r := &canonical.IdentityLinkRecord{Envelope: head, Name: textOf(e.doc.Header.Field(canonical.PartyName))}
	if l := e.link; l != nil {
		r.Rule, r.LinkedAt, r.Approximate, r.IgnoredReferences = l.Rule, instant(l.Since.Micros), l.Since.Approximate, l.Ignored
		if l.Reference != "" {
			r.Reference = &l.Reference
		}
	}
	return r
}

func (o *Operator) product(e *entry, head canonical.Envelope) Versioned {
	h := &e.doc.Header
	r := &canonical.ProductRecord{Envelope: head, Kind: h.Field(canonical.ProductKind).Text(), Code: textOf(h.Field(canonical.ProductCode)), Name: textOf(h.Field(canonical.ProductName))}
	r.OfID = o.ref(e.doc.System, canonical.Product, h.Field(canonical.ProductOf))
	return r
}

func (o *Operator) opportunity(e *entry, head canonical.Envelope) (Versioned, error) {
	h := &e.doc.Header
	created := h.Times[change.Created]
	r := &canonical.OpportunityRecord{
		Envelope: head, DealID: &head.EntityID,
		State: textOf(h.Field(canonical.OpportunityState)), Phase: textOf(h.Field(canonical.OpportunityPhase)),
		Number: textOf(h.Field(canonical.OpportunityNumber)), Description: textOf(h.Field(canonical.OpportunityDescription)),
		Currency: textOf(h.Field(canonical.OpportunityCurrency)), CreatedAt: instant(created.Micros), Approximate: created.Approximate,
	}
	var err error
	if r.Amount, err = canonical.DecimalOf(h.Field(canonical.OpportunityAmount)); err != nil {
		return nil, err
	}
	r.Lines, err = o.lines(e)
	return r, err
}

func (o *Operator) order(e *entry, head canonical.Envelope) (Versioned, error) {
	h := &e.doc.Header
	r := &canonical.OrderRecord{
		Envelope: head, DealID: o.ref(e.doc.System, canonical.Opportunity, h.Field(canonical.OrderOpportunity)),
		State: textOf(h.Field(canonical.OrderState)), Number: textOf(h.Field(canonical.OrderNumber)),
		Currency: textOf(h.Field(canonical.OrderCurrency)), OrderDate: dateOf(h.Field(canonical.OrderDate)), CreatedAt: instant(h.Times[change.Created].Micros),
	}
	var err error
	net, tax, gross := h.Field(canonical.OrderNet), h.Field(canonical.OrderTax), h.Field(canonical.OrderGross)
	if r.Net, err = canonical.DecimalOf(net); err != nil {
		return nil, err
	}
	if net.IsNull() {
		if r.Net, err = amount(lineSum(e)); err != nil {
			return nil, err
		}
	}
	if r.Tax, err = canonical.DecimalOf(tax); err != nil {
		return nil, err
	}
	if r.Gross, err = canonical.DecimalOf(gross); err != nil {
		return nil, err
	}
	r.Lines, err = o.lines(e)
	return r, err
}

func (o *Operator) subscription(s scope, e *entry, head canonical.Envelope) (Versioned, error) {
	h := &e.doc.Header
	r := &canonical.SubscriptionRecord{
		Envelope: head, State: textOf(h.Field(canonical.SubscriptionState)), Phase: textOf(h.Field(canonical.SubscriptionPhase)),
		Number: textOf(h.Field(canonical.SubscriptionNumber)), OrderNumber: textOf(h.Field(canonical.SubscriptionOrderNumber)),
		StartDate: dateOf(h.Field(canonical.SubscriptionStartDate)), EndDate: dateOf(h.Field(canonical.SubscriptionEndDate)),
		Currency: textOf(h.Field(canonical.SubscriptionCurrency)), CreatedAt: instant(h.Times[change.Created].Micros),
	}
	var err error
	if r.DealID, err = o.dealOfOrder(s, r.OrderNumber); err != nil {
		return nil, err
	}
	net := h.Field(canonical.SubscriptionMonthlyNet)
	if r.MonthlyNet, err = canonical.DecimalOf(net); err != nil {
		return nil, err
	}
	if net.IsNull() {
		if r.MonthlyNet, err = amount(lineSum(e)); err != nil {
			return nil, err
		}
	}
	r.Lines, err = o.lines(e)
	return r, err
}

func (o *Operator) lines(e *entry) ([]canonical.Line, error) {
	var lines []canonical.Line
	for i := range e.doc.Children {
		c := &e.doc.Children[i]
		if c.Part != canonical.PartLine {
			continue
		}
		l := canonical.Line{NativeID: c.ID, ProductID: o.ref(e.doc.System, canonical.Product, c.Field(canonical.LineProduct))}
		var err error
		if l.Quantity, err = canonical.DecimalOf(c.Field(canonical.LineQuantity)); err != nil {
			return nil, err
		}
		if l.UnitPrice, err = canonical.DecimalOf(c.Field(canonical.LineUnitPrice)); err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// lineSum is the sum of quantity times unit price, each line rounded half-even
// to cents, as the ERP of the recorded feed does it.
func lineSum(e *entry) decimal.Decimal {
	var sum decimal.Decimal
	for i := range e.doc.Children {
		if c := &e.doc.Children[i]; c.Part == canonical.PartLine {
			sum = sum.Add(number(c.Field(canonical.LineQuantity)).Mul(number(c.Field(canonical.LineUnitPrice))).RoundBank(2))
		}
	}
	return sum
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
	r := &canonical.AccountRecord{Envelope: envelope(s, account, parties[0].doc.System, parties[0].doc.ID), Name: textOf(parties[0].doc.Header.Field(canonical.PartyName))}
	if v := parties[0].doc.Header.Field(canonical.PartyVATExempt); v.Kind == change.Bool {
		exempt := v.Int == 1
		r.VATExempt = &exempt
	}
	var l latest
	for _, p := range parties {
		l.document(&p.doc)
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
				r.Addresses = append(r.Addresses, canonical.Address{
					System: c.System, NativeID: c.ID, Street: textOf(c.Field(canonical.AddressStreet)), PostalCode: textOf(c.Field(canonical.AddressPostalCode)),
					City: textOf(c.Field(canonical.AddressCity)), Country: textOf(c.Field(canonical.AddressCountry)),
				})
			case canonical.PartContact:
				r.Contacts = append(r.Contacts, canonical.Contact{System: c.System, NativeID: c.ID, Type: textOf(c.Field(canonical.ContactType)), Value: textOf(c.Field(canonical.ContactValue))})
			}
		}
	}
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

func number(v change.Value) decimal.Decimal {
	if v.Kind != change.Decimal {
		return decimal.Zero
	}
	if v.Bytes == nil {
		return decimal.New(v.Int, -v.Scale)
	}
	return decimal.NewFromBigInt(change.Unscaled(v), -v.Scale)
}

func amount(d decimal.Decimal) (canonical.Decimal, error) {
	return canonical.NewDecimal(d.Coefficient(), -d.Exponent())
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
