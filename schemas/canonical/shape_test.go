package canonical

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Field numbers are stored: the constants and the tables must stay together.
func TestFieldNumbers(t *testing.T) {
	want := map[string][]string{
		Party: {PartyName: "name", PartyCode: "code", PartyActive: "active", PartyVATExempt: "vat_exempt"},
		Opportunity: {
			OpportunityState: "state", OpportunityPhase: "phase", OpportunityDescription: "description", OpportunityAmount: "amount",
			OpportunityCurrency: "currency", OpportunityNumber: "number",
		},
		Order: {
			OrderState: "state", OrderNumber: "number", OrderOpportunity: "opportunity", OrderNet: "net", OrderTax: "tax", OrderGross: "gross",
			OrderCurrency: "currency", OrderDate: "order_date", OrderComment: "comment", OrderPhase: "phase",
		},
		Subscription: {
			SubscriptionState: "state", SubscriptionPhase: "phase", SubscriptionNumber: "number", SubscriptionOrderNumber: "order_number",
			SubscriptionStartDate: "start_date", SubscriptionEndDate: "end_date", SubscriptionMonthlyNet: "monthly_net",
			SubscriptionCurrency: "currency", SubscriptionRecurrence: "recurrence", SubscriptionRecurrenceInterval: "recurrence_interval",
		},
		Invoice: {
			InvoiceState: "state", InvoicePhase: "phase", InvoiceNumber: "number", InvoiceKind: "kind", InvoiceDate: "invoice_date",
			InvoiceReference: "reference", InvoiceOrderNumber: "order_number", InvoiceCurrency: "currency", InvoiceEntry: "entry",
			InvoiceNet: "net", InvoiceTax: "tax",
		},
		Invoice + "/" + PartLine:      {LineProduct: "product", LineQuantity: "quantity", LineUnitPrice: "unit_price", LineCredits: "credits"},
		Invoice + "/" + PartTax:       {TaxAmount: "amount"},
		Invoice + "/" + PartPayment:   {PaymentLine: "line", PaymentAmount: "amount", PaymentPaidOn: "paid_on", PaymentCurrency: "currency"},
		Party + "/" + PartIdentifier:  {IdentifierCode: "code"},
		Party + "/" + PartAddress:     {AddressStreet: "street", AddressPostalCode: "postal_code", AddressCity: "city", AddressCountry: "country"},
		Party + "/" + PartContact:     {ContactType: "type", ContactValue: "value"},
		Entry:                         {EntryDate: "date", EntryState: "state", EntryNumber: "number"},
		Entry + "/" + PartLine:        {EntryLineParty: "party", EntryLineDebit: "debit", EntryLineCredit: "credit", EntryLineCurrency: "currency"},
		Product:                       {ProductKind: "kind", ProductCode: "code", ProductName: "name", ProductOf: "of"},
		Reference:                     {ReferenceCode: "code", ReferenceName: "name"},
		Opportunity + "/" + PartLine:  {"product", "quantity", "unit_price", "credits"},
		Order + "/" + PartLine:        {"product", "quantity", "unit_price", "credits"},
		Subscription + "/" + PartLine: {"product", "quantity", "unit_price", "credits"},
	}
	seen := 0
	for _, e := range Entities() {
		for _, s := range append([]Shape{e.Header}, e.Parts...) {
			name := e.Name
			if s.Part != "" {
				name += "/" + s.Part
			}
			var fields []string
			for _, f := range s.Fields {
				fields = append(fields, f.Name)
			}
			if !slices.Equal(fields, want[name]) {
				t.Errorf("%s: the table has %v, the constants %v", name, fields, want[name])
			}
			seen++
		}
	}
	if seen != len(want) {
		t.Errorf("%d shapes, %d are held here", seen, len(want))
	}
}

func TestCompareIDs(t *testing.T) {
	ids := rapid.OneOf(rapid.StringMatching(`[0-9]{1,20}`), rapid.StringMatching(`[a-z0-9:]{0,4}`))
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := ids.Draw(t, "a"), ids.Draw(t, "b"), ids.Draw(t, "c")
		if CompareIDs(a, b) != -CompareIDs(b, a) || CompareIDs(a, a) != 0 {
			t.Fatalf("%q and %q", a, b)
		}
		if CompareIDs(a, b) <= 0 && CompareIDs(b, c) <= 0 && CompareIDs(a, c) > 0 {
			t.Fatalf("%q <= %q <= %q", a, b, c)
		}
	})
	sorted := []string{"1", "9", "10", "00000000000000000011", "18446744073709551616", "a", "service:1"}
	if !slices.IsSortedFunc(sorted, CompareIDs) {
		t.Errorf("%v is not in order", sorted)
	}
}

func TestEntityIDIsStable(t *testing.T) {
	// UUIDv5 in the URL namespace; computed apart, with Python's uuid.uuid5.
	if got := IDText(EntityID("crm", Party, "5")); got != "9e577fe5-9a1d-5b52-893d-6dce78150ba5" {
		t.Errorf("got %s", got)
	}
}
