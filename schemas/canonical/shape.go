// Package canonical names the business entities that every system's rows are
// mapped onto, and the records of the canonical topics.
//
// A shape is what a catalog may map to: for each entity the fields of its header
// row and of its child rows. Field numbers are stored in internal topics and in
// state, so a shape grows at its end only.
package canonical

import "syncline/schemas/change"

// The entities a source row can be mapped onto.
const (
	Party        = "party" // a native customer; several make one account
	Opportunity  = "opportunity"
	Order        = "order"
	Subscription = "subscription"
	Invoice      = "invoice"
	Entry        = "entry" // a journal entry: where payments are booked
	Product      = "product"
	Reference    = "reference" // a row other rows name by code: currencies, ledger accounts
)

// FieldSpec is one field of a shape.
type FieldSpec struct {
	Name string
	Kind change.Kind // Int stands for a reference to another row's native id too, then Ref names its entity
	Ref  string      // entity the field refers to, "" for none; the value is the native id as String
	Need bool        // NULL is a letter
	Doc  string
}

// Money reports whether the field is an amount of money, as every number is but
// a quantity.
func (f FieldSpec) Money() bool { return f.Kind == change.Decimal && f.Name != "quantity" }

// Shape is an ordered list of fields. Header fields and parts are looked up by
// name when a catalog is compiled and by number ever after.
type Shape struct {
	Part   string // "" is the header
	Fields []FieldSpec
}

// Index returns the number of the named field, or -1.
func (s Shape) Index(name string) int {
	for i, f := range s.Fields {
		if f.Name == name {
			return i
		}
	}
	return -1
}

// Entity is a canonical entity: its header and its parts.
type Entity struct {
	Name   string
	Header Shape
	Parts  []Shape
	// Phases are the canonical words a source's state may be mapped to; empty
	// where the entity has none.
	Phases []string
}

// Shape returns the shape of a part ("" for the header).
func (e Entity) Shape(part string) (Shape, bool) {
	if part == "" {
		return e.Header, true
	}
	for _, p := range e.Parts {
		if p.Part == part {
			return p, true
		}
	}
	return Shape{}, false
}

// The phases of documents: what stages and milestones are made of.
const (
	PhaseOpen      = "open"
	PhaseWon       = "won"
	PhaseLost      = "lost"
	PhaseDraft     = "draft"
	PhaseActive    = "active"
	PhaseEnded     = "ended"
	PhasePosted    = "posted"
	PhasePaid      = "paid"
	PhaseCancelled = "cancelled"
)

// The kinds of invoice and of product.
const (
	KindInvoice    = "invoice"
	KindCreditNote = "credit_note"
	KindProduct    = "product"
	KindTemplate   = "template"
	KindService    = "service"
)

// The header fields by number, one block per entity, and the fields of parts.
// They are the order of the tables below; TestFieldNumbers holds the two
// together.
const (
	PartyName, PartyCode, PartyActive, PartyVATExempt = 0, 1, 2, 3

	IdentifierCode = 0

	AddressStreet, AddressPostalCode, AddressCity, AddressCountry = 0, 1, 2, 3

	ContactType, ContactValue = 0, 1

	OpportunityState, OpportunityPhase, OpportunityDescription, OpportunityAmount, OpportunityCurrency, OpportunityNumber = 0, 1, 2, 3, 4, 5

	OrderState, OrderNumber, OrderOpportunity, OrderNet, OrderTax, OrderGross, OrderCurrency, OrderDate, OrderComment = 0, 1, 2, 3, 4, 5, 6, 7, 8

	SubscriptionState, SubscriptionPhase, SubscriptionNumber, SubscriptionOrderNumber, SubscriptionStartDate, SubscriptionEndDate, SubscriptionMonthlyNet, SubscriptionCurrency, SubscriptionRecurrence = 0, 1, 2, 3, 4, 5, 6, 7, 8

	InvoiceState, InvoicePhase, InvoiceNumber, InvoiceKind, InvoiceDate, InvoiceReference, InvoiceOrderNumber, InvoiceCurrency, InvoiceEntry, InvoiceNet, InvoiceTax = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

	LineProduct, LineQuantity, LineUnitPrice, LineCredits = 0, 1, 2, 3

	TaxAmount = 0

	PaymentLine, PaymentAmount, PaymentPaidOn = 0, 1, 2

	EntryDate, EntryState, EntryNumber = 0, 1, 2

	EntryLineParty, EntryLineDebit, EntryLineCredit = 0, 1, 2

	ProductKind, ProductCode, ProductName, ProductOf = 0, 1, 2, 3

	ReferenceCode, ReferenceName = 0, 1
)

// The names of the parts.
const (
	PartIdentifier = "identifier"
	PartAddress    = "address"
	PartContact    = "contact"
	PartLine       = "line"
	PartTax        = "tax"
	PartPayment    = "payment"
)

var line = Shape{Part: PartLine, Fields: []FieldSpec{
	{Name: "product", Kind: change.String, Ref: Product, Doc: "the product sold"},
	{Name: "quantity", Kind: change.Decimal, Doc: "shortest decimal of the source's number"},
	{Name: "unit_price", Kind: change.Decimal, Doc: "without tax"},
	{Name: "credits", Kind: change.String, Doc: "native id of the earlier invoice's line that this one credits"},
}}

// Entities returns every canonical entity. The result is fresh: callers may
// keep it.
func Entities() []Entity {
	return []Entity{
		{Name: Party, Header: Shape{Fields: []FieldSpec{
			{Name: "name", Kind: change.String},
			{Name: "code", Kind: change.String},
			{Name: "active", Kind: change.Bool},
			{Name: "vat_exempt", Kind: change.Bool},
		}}, Parts: []Shape{
			{Part: PartIdentifier, Fields: []FieldSpec{{Name: "code", Kind: change.String, Doc: "an identifier; one that matches identity.reference names the master's party"}}},
			{Part: PartAddress, Fields: []FieldSpec{{Name: "street", Kind: change.String}, {Name: "postal_code", Kind: change.String}, {Name: "city", Kind: change.String}, {Name: "country", Kind: change.String}}},
			{Part: PartContact, Fields: []FieldSpec{{Name: "type", Kind: change.String}, {Name: "value", Kind: change.String}}},
		}},
		{Name: Opportunity, Phases: []string{PhaseOpen, PhaseWon, PhaseLost}, Header: Shape{Fields: []FieldSpec{
			{Name: "state", Kind: change.String},
			{Name: "phase", Kind: change.String, Need: true, Doc: "state in canonical words"},
			{Name: "description", Kind: change.String},
			{Name: "amount", Kind: change.Decimal, Doc: "without tax"},
			{Name: "currency", Kind: change.String, Need: true, Doc: "ISO 4217 code"},
			{Name: "number", Kind: change.String},
		}}, Parts: []Shape{line}},
		{Name: Order, Header: Shape{Fields: []FieldSpec{
			{Name: "state", Kind: change.String},
			{Name: "number", Kind: change.String},
			{Name: "opportunity", Kind: change.String, Ref: Opportunity},
			{Name: "net", Kind: change.Decimal},
			{Name: "tax", Kind: change.Decimal},
			{Name: "gross", Kind: change.Decimal},
			{Name: "currency", Kind: change.String, Need: true},
			{Name: "order_date", Kind: change.Date},
			{Name: "comment", Kind: change.String},
		}}, Parts: []Shape{line}},
		{Name: Subscription, Phases: []string{PhaseDraft, PhaseActive, PhaseEnded}, Header: Shape{Fields: []FieldSpec{
			{Name: "state", Kind: change.String},
			{Name: "phase", Kind: change.String, Need: true},
			{Name: "number", Kind: change.String},
			{Name: "order_number", Kind: change.String, Doc: "number of the order it fulfils"},
			{Name: "start_date", Kind: change.Date},
			{Name: "end_date", Kind: change.Date},
			{Name: "monthly_net", Kind: change.Decimal, Doc: "per month, without tax; NULL: the sum of the lines"},
			{Name: "currency", Kind: change.String, Need: true},
			{Name: "recurrence", Kind: change.String, Need: true, Doc: "month"},
		}}, Parts: []Shape{line}},
		{Name: Invoice, Phases: []string{PhaseDraft, PhasePosted, PhasePaid, PhaseCancelled}, Header: Shape{Fields: []FieldSpec{
			{Name: "state", Kind: change.String},
			{Name: "phase", Kind: change.String, Need: true},
			{Name: "number", Kind: change.String},
			{Name: "kind", Kind: change.String, Doc: "invoice or credit_note; NULL: credit_note if a line credits another"},
			{Name: "invoice_date", Kind: change.Date},
			{Name: "reference", Kind: change.String},
			{Name: "order_number", Kind: change.String},
			{Name: "currency", Kind: change.String, Need: true},
			{Name: "entry", Kind: change.String, Ref: Entry, Doc: "the journal entry that posted it"},
			{Name: "net", Kind: change.Decimal, Doc: "NULL: the sum of the lines, each rounded half-even to cents"},
			{Name: "tax", Kind: change.Decimal, Doc: "NULL: the sum of the tax rows"},
		}}, Parts: []Shape{
			line,
			{Part: PartTax, Fields: []FieldSpec{{Name: "amount", Kind: change.Decimal}}},
			{Part: PartPayment, Fields: []FieldSpec{
				{Name: "line", Kind: change.String, Doc: "native id of the journal entry line that pays; NULL where amount and paid_on are here"},
				{Name: "amount", Kind: change.Decimal},
				{Name: "paid_on", Kind: change.Date},
			}},
		}},
		{Name: Entry, Header: Shape{Fields: []FieldSpec{
			{Name: "date", Kind: change.Date},
			{Name: "state", Kind: change.String},
			{Name: "number", Kind: change.String},
		}}, Parts: []Shape{{Part: PartLine, Fields: []FieldSpec{
			{Name: "party", Kind: change.String, Ref: Party},
			{Name: "debit", Kind: change.Decimal},
			{Name: "credit", Kind: change.Decimal},
		}}}},
		{Name: Product, Header: Shape{Fields: []FieldSpec{
			{Name: "kind", Kind: change.String, Need: true, Doc: "product, template or service"},
			{Name: "code", Kind: change.String},
			{Name: "name", Kind: change.String},
			{Name: "of", Kind: change.String, Ref: Product, Doc: "a product's template, a service's product"},
		}}},
		{Name: Reference, Header: Shape{Fields: []FieldSpec{
			{Name: "code", Kind: change.String},
			{Name: "name", Kind: change.String},
		}}},
	}
}
