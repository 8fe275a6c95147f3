package account

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// bench is an operator with documents put in by hand and its last records.
type bench struct {
	t    *testing.T
	op   *Operator
	last map[string]canonical.Versioned // by topic and native id
}

var benchAccount = change.ID{1}

func newBench(t *testing.T, c Config) *bench {
	t.Helper()
	c.Instances = map[string]string{"crm": "crm", "subs": "subs", "erp": "erp"}
	c.Roles = map[string]string{"crm": RoleCRM, "subs": RoleSubs, "erp": RoleERP}
	op, err := New(&c, state.New())
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, op: op, last: map[string]canonical.Versioned{}}
}

func (b *bench) Record(topic Topic, rec canonical.Versioned, _ []byte) {
	b.last[topic.String()+" "+rec.Head().NativeID] = rec
}

// values are fields by number: a text is a String, but a number where the field
// is one.
type values map[int]any

func rowOf(entity, part, id string, v values) change.Row {
	r := change.Row{System: "erp", Entity: entity, Doc: id, Part: part, ID: id}
	for n, value := range v {
		for len(r.Fields) <= n {
			r.Fields = append(r.Fields, change.Value{})
		}
		switch value := value.(type) {
		case string:
			r.Fields[n] = change.OfString(value)
		case decimal.Decimal:
			r.Fields[n] = change.DecimalOf(value.Coefficient(), -value.Exponent())
		default:
			panic(fmt.Sprintf("no value of %T", value))
		}
	}
	return r
}

func num(s string) decimal.Decimal { return decimal.RequireFromString(s) }

// put gives the operator a document: its header, then its children.
func (b *bench) put(rows ...change.Row) {
	b.t.Helper()
	h := &rows[0]
	stored := make([][]byte, len(rows))
	for i := range rows {
		stored[i] = change.AppendRow(nil, &rows[i])
	}
	doc := change.AppendDocument(nil, change.DocumentHead{System: h.System, Entity: h.Entity, ID: h.ID, Party: "55", Version: 1}, stored)
	a := &change.AccountDocument{Account: benchAccount, Stored: doc}
	if v := b.op.Apply(a, change.AppendAccountDocument(nil, a)); v.Kind != change.Pass {
		b.t.Fatalf("the document is judged %+v", v)
	}
	if err := b.op.Flush(b); err != nil {
		b.t.Fatalf("a value has stopped the task: %v", err)
	}
}

func (b *bench) invoice(id string) *canonical.InvoiceRecord {
	b.t.Helper()
	r, ok := b.last["invoice "+id].(*canonical.InvoiceRecord)
	if !ok {
		b.t.Fatalf("no invoice %s", id)
	}
	return r
}

func plain(d canonical.Decimal) string {
	s := d.String()
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func billRow(id, currency string) change.Row {
	return rowOf(canonical.Invoice, "", id, values{canonical.InvoicePhase: canonical.PhasePosted, canonical.InvoiceCurrency: currency})
}

func lineRow(id, quantity, price string) change.Row {
	return rowOf(canonical.Invoice, canonical.PartLine, id, values{canonical.LineQuantity: num(quantity), canonical.LineUnitPrice: num(price)})
}

func TestRounding(t *testing.T) {
	for _, c := range []struct {
		name, currency string
		how            Rounding
		lines          []string // quantity × price
		net            string
		flags          string
	}{
		{"cents", "EUR", Rounding{}, []string{"1×0.125", "1×0.135"}, "0.26", ""},
		{"cents, half up", "EUR", Rounding{HalfUp: true}, []string{"1×0.125", "1×0.135"}, "0.27", ""},
		{"half up is away from zero", "EUR", Rounding{HalfUp: true}, []string{"1×-0.125"}, "-0.13", ""},
		{"per document", "EUR", Rounding{PerDocument: true}, []string{"1×0.004", "1×0.004", "1×0.004"}, "0.01", ""},
		{"per line", "EUR", Rounding{}, []string{"1×0.004", "1×0.004", "1×0.004"}, "0", ""},
		{"yen have no minor unit", "JPY", Rounding{}, []string{"3×33.5"}, "100", ""},
		{"a dinar has a thousand fils", "KWD", Rounding{}, []string{"3×0.417"}, "1.251", ""},
		{"Iraq's too, though nobody uses them", "IQD", Rounding{}, []string{"3×0.417"}, "1.251", ""},
		{"small letters", " kwd", Rounding{}, []string{"3×0.417"}, "1.251", ""},
		{"nobody knows it", "ECU", Rounding{}, []string{"3×0.417"}, "1.25", FlagUnknownCurrency},
		{"ten digits after the point", "EUR", Rounding{}, []string{"1000000×0.0000123456"}, "12.35", ""},
		{"a great bill", "EUR", Rounding{}, []string{"99999999999999×99999999999999"}, "9999999999999800000000000001", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, Config{Rounding: map[string]Rounding{"erp": c.how}})
			rows := []change.Row{billRow("7", c.currency)}
			for i, l := range c.lines {
				quantity, price, _ := strings.Cut(l, "×")
				rows = append(rows, lineRow(fmt.Sprint(i+1), quantity, price))
			}
			b.put(rows...)
			r := b.invoice("7")
			if got := plain(r.Net); got != c.net || plain(r.Gross) != c.net || strings.Join(r.Flags, ",") != c.flags || !r.Complete {
				t.Errorf("net %s, gross %s, flags %v, %v; want %s", got, plain(r.Gross), r.Flags, r.Complete, c.net)
			}
		})
	}
}

// A sum beyond 38 digits is the matter of one bill.
func TestSumBeyondAllBounds(t *testing.T) {
	b := newBench(t, Config{})
	rows := []change.Row{billRow("1", "EUR")}
	for i := range 11 {
		rows = append(rows, lineRow(fmt.Sprint(i), "99999999999999", "99999999999999"))
	}
	b.put(rows...)
	if r := b.invoice("1"); r.Net != nil || r.Gross != nil || r.Complete || !strings.Contains(*r.IncompleteReason, "net") {
		t.Errorf("net %s, gross %s, complete %v, %v", r.Net, r.Gross, r.Complete, r.IncompleteReason)
	}
	b.put(billRow("2", "EUR"), lineRow("20", "5", "10"))
	if got := plain(b.invoice("2").Net); got != "50" {
		t.Errorf("the next bill's net is %s", got)
	}
}

// Money in another currency is never added.
func TestForeignPayment(t *testing.T) {
	b := newBench(t, Config{})
	pay := func(id, amount, currency string) change.Row {
		v := values{canonical.PaymentAmount: num(amount)}
		if currency != "" {
			v[canonical.PaymentCurrency] = currency
		}
		return rowOf(canonical.Invoice, canonical.PartPayment, id, v)
	}
	b.put(billRow("7", "EUR"), lineRow("1", "1", "100"), pay("a", "60", ""), pay("b", "40", "eur"), pay("c", "50", "USD"))
	r := b.invoice("7")
	if plain(r.Paid) != "100" || strings.Join(r.Flags, ",") != FlagOtherCurrency || r.Complete || *r.IncompleteReason != "payment c is in USD, the invoice in EUR: it is not added" {
		t.Errorf("paid %s, flags %v, complete %v, %v", plain(r.Paid), r.Flags, r.Complete, r.IncompleteReason)
	}
	for id, want := range map[string]string{"a": "60 EUR []", "b": "40 eur []", "c": "50 USD [other_currency]"} {
		p := b.last["payment "+id].(*canonical.PaymentRecord)
		if got := fmt.Sprint(plain(p.Amount), " ", *p.Currency, " ", p.Flags); got != want || !p.Complete {
			t.Errorf("payment %s is %s, want %s", id, got, want)
		}
	}
}

func TestMonthlyNetOfContracts(t *testing.T) {
	for _, c := range []struct {
		recurrence, interval string
		want                 string // NULL: nobody knows
	}{
		{"month", "", "100"},
		{"year", "", "8.333333333"},
		{"P6M", "", "16.666666667"},
		{"month", "3", "33.333333333"},
		{"3 months", "2", "16.666666667"},
		{"week", "", "434.8125"},
		{"now and then", "", "NULL"},
		{"month", "0", "NULL"},
		{"month", "1.5", "NULL"},
		{"month", "-3", "NULL"},
		{"month", "1000000000000000000000", "NULL"},
	} {
		b := newBench(t, Config{})
		v := values{canonical.SubscriptionPhase: canonical.PhaseActive, canonical.SubscriptionCurrency: "EUR", canonical.SubscriptionRecurrence: c.recurrence}
		if c.interval != "" {
			v[canonical.SubscriptionRecurrenceInterval] = num(c.interval)
		}
		l := lineRow("1", "1", "100")
		l.Entity = canonical.Subscription
		b.put(rowOf(canonical.Subscription, "", "3", v), l)
		r := b.last["subscription 3"].(*canonical.SubscriptionRecord)
		if got := plain(r.MonthlyNet); got != c.want || r.Complete != (c.want != "NULL") {
			t.Errorf("every %s %q: %s a month, complete %v, %v; want %s", c.interval, c.recurrence, got, r.Complete, r.IncompleteReason, c.want)
		}
	}
}

func TestOrderPhase(t *testing.T) {
	for state, want := range map[string]string{
		"cancelled": "cancelled", " Canceled ": "cancelled", "VOID": "cancelled", "rejected": "cancelled", "cancel": "cancelled",
		"confirmed": "", "open": "", "cancellation requested": "", "": "",
	} {
		h := rowOf(canonical.Order, "", "1", values{canonical.OrderState: state})
		if got := orderPhase(&h); got != want {
			t.Errorf("the phase of state %q is %q, want %q", state, got, want)
		}
	}
	h := rowOf(canonical.Order, "", "1", values{canonical.OrderState: "cancelled", canonical.OrderPhase: "done"})
	if got := orderPhase(&h); got != "done" {
		t.Errorf("the catalog's phase done is shown as %q", got)
	}
}

// The order of preference, and that it is one whatever order documents are met in.
func TestPreference(t *testing.T) {
	e := func(id, phase string, created int64) *entry {
		r := rowOf(canonical.Invoice, "", id, values{canonical.InvoicePhase: phase})
		r.Times[change.Created].Micros = created
		return &entry{doc: change.Document{System: "erp", Entity: canonical.Invoice, ID: id, Header: r}}
	}
	best := []*entry{
		e("9", canonical.PhasePaid, 5), e("10", canonical.PhasePosted, 5), e("a", canonical.PhasePosted, 5), e("1", canonical.PhasePosted, 6), e("2", canonical.PhasePosted, 0),
		e("3", canonical.PhaseDraft, 1), e("4", canonical.PhaseCancelled, 1),
	}
	for i, x := range best {
		for j, y := range best {
			if got := preference(x, y); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s against %s: %d", x.doc.ID, y.doc.ID, got)
			}
		}
	}
}

// An account of very many parties is a record that a broker would not take.
func TestRecordTooLarge(t *testing.T) {
	b := newBench(t, Config{})
	for i := range 12 {
		rows := []change.Row{rowOf(canonical.Party, "", fmt.Sprint(i), values{canonical.PartyName: "Acme"})}
		for j := range 100 {
			rows = append(rows, rowOf(canonical.Party, canonical.PartAddress, fmt.Sprint(j), values{canonical.AddressStreet: strings.Repeat("x", 1000)}))
		}
		b.put(rows...)
	}
	r := b.last["account 0"].(*canonical.AccountRecord)
	if r.Complete || r.Addresses != nil || *r.Name != "Acme" || r.IncompleteReason == nil || !strings.Contains(*r.IncompleteReason, "without its lists") {
		t.Errorf("complete %v, %d addresses, %v", r.Complete, len(r.Addresses), r.IncompleteReason)
	}
	b.put(rowOf(canonical.Party, "", "99", values{canonical.PartyName: strings.Repeat("x", 1<<20)}))
	link := b.last["identity_link 99"].(*canonical.IdentityLinkRecord)
	if link.Complete || link.Name != nil || link.IncompleteReason == nil {
		t.Errorf("complete %v, name of %d bytes", link.Complete, len(*link.Name))
	}
}
