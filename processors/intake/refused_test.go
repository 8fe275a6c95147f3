package intake

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// told is an intake operator of a table of invoices or of their lines, told
// change by change.
type told struct {
	t       *testing.T
	src     *Source
	op      *Intake
	store   *state.Table
	rows    []change.Row // as they went out
	notices []Notice
	healed  int
	settled []change.Letter
	at      int64
	lsn     int64
}

func tell(t *testing.T, src *Source) *told {
	t.Helper()
	if err := src.Prepare(); err != nil {
		t.Fatal(err)
	}
	store := state.New()
	return &told{t: t, src: src, op: New(src, 0, store), store: store}
}

func (w *told) Row(_ *change.Row, stored []byte) {
	r, err := change.DecodeRow(stored)
	if err != nil {
		w.t.Fatal(err)
	}
	w.rows = append(w.rows, r)
}

func (w *told) Settled(l change.Letter) { w.healed++; w.settled = append(w.settled, l) }
func (w *told) Notice(n Notice)         { w.notices = append(w.notices, n) }

// last is the row that went out last.
func (w *told) last() change.Row {
	w.t.Helper()
	if len(w.rows) == 0 {
		w.t.Fatal("no row went out")
	}
	return w.rows[len(w.rows)-1]
}

var errUnreadable = errors.New("it ends too early")

const firstCommit = 1_790_000_000_000_000

// image makes a change of row 1; columns without a value are NULL.
func (w *told) image(op string, columns map[string]change.Value) Image {
	img := make(Image, len(w.src.Want()))
	w.lsn++
	img[wantOp], img[wantLSN] = change.OfString(op), change.OfInt(w.lsn)
	img[wantMicros] = change.OfInt(firstCommit + w.lsn)
	img[wantSnapshot] = change.OfString(map[bool]string{true: "true", false: "false"}[op == opRead])
	img[wantAfter], img[wantBefore] = change.Value{Kind: change.Nested}, change.Value{Kind: change.Nested}
	columns["id"] = change.OfInt(1)
	for name, v := range columns {
		n := w.src.Column(name)
		if n < 0 {
			w.t.Fatalf("no column %s", name)
		}
		img[n] = v
	}
	img[w.src.before[0]] = change.OfInt(1)
	return img
}

func (w *told) apply(op string, columns map[string]change.Value) change.Verdict {
	return w.again(w.image(op, columns))
}

func (w *told) again(img Image) change.Verdict {
	w.at++
	return w.op.Apply(Place{Topic: w.src.Topic, Offset: w.at}, img, w)
}

func invoices() *Source {
	s := &Source{Topic: "invoices", System: "erp", Entity: canonical.Invoice, Key: []string{"id"}, Party: &Field{Columns: []string{"party"}}, Changed: []TimeColumn{{Name: "changed"}}, Fields: make([]Field, 11)}
	s.Fields[canonical.InvoicePhase] = Field{Columns: []string{"state"}, Map: map[string]string{"p": "posted", "d": "draft"}}
	s.Fields[canonical.InvoiceNumber] = Field{Columns: []string{"number"}}
	s.Fields[canonical.InvoiceDate] = Field{Columns: []string{"date"}}
	one := change.OfString("EUR")
	s.Fields[canonical.InvoiceCurrency] = Field{Constant: &one}
	s.Times[change.Created] = &Rule{Snapshot: []TimeColumn{{Name: "created"}}}
	s.Times[change.Invoiced] = &Rule{Phases: []string{"posted"}, Snapshot: []TimeColumn{{Name: "created"}}}
	return s
}

func lines() *Source {
	s := &Source{Topic: "lines", System: "erp", Entity: canonical.Invoice, Part: canonical.PartLine, Key: []string{"id"}, Parent: "invoice", Fields: make([]Field, 4)}
	s.Fields[canonical.LineQuantity] = Field{Columns: []string{"quantity"}}
	s.Fields[canonical.LineUnitPrice] = Field{Columns: []string{"price"}}
	return s
}

func fieldsRefused(r change.Row) []int {
	var list []int
	for _, f := range r.Refused {
		list = append(list, f.Field)
	}
	return list
}

func (w *told) wants(v change.Verdict, kind change.VerdictKind, refused ...int) {
	w.t.Helper()
	if v.Kind != kind {
		w.t.Errorf("verdict %+v, want kind %d", v, kind)
	}
	if got := fieldsRefused(w.last()); !slices.Equal(got, refused) {
		w.t.Errorf("refused %v (%v), want %v", got, w.last().Refused, refused)
	}
}

var endless = change.OfDate(2_932_896) // 9999-12-31

func TestRefusedValueOfANewRowIsNull(t *testing.T) {
	w := tell(t, invoices())
	v := w.apply(opCreate, map[string]change.Value{"state": change.OfString("p"), "number": change.OfString("7"), "date": endless})
	w.wants(v, change.Park, canonical.InvoiceDate)
	if r := w.last(); !r.Field(canonical.InvoiceDate).IsNull() || r.Field(canonical.InvoiceNumber).Text() != "7" || !strings.Contains(r.Refused[0].Reason, "date") || !strings.Contains(v.Err.Error(), "9999-12-31") {
		t.Errorf("%+v %v", r, v.Err)
	}
	w.wants(w.apply(opUpdate, map[string]change.Value{"state": change.OfString("p"), "date": change.OfDate(5)}), change.Pass)
	if w.healed != 1 {
		t.Errorf("%d letters healed, want 1", w.healed)
	}
}

func TestRefusedValueOfAKnownRowKeepsTheOld(t *testing.T) {
	w := tell(t, invoices())
	w.apply(opCreate, map[string]change.Value{"state": change.OfString("p"), "number": change.OfString("7"), "date": change.OfDate(5), "party": change.OfString("55")})
	v := w.apply(opUpdate, map[string]change.Value{"state": change.OfString("zombie"), "number": change.OfString("8"), "date": endless, "party": {Kind: change.Bytes, Bytes: []byte{1}}})
	w.wants(v, change.Park, canonical.InvoicePhase, canonical.InvoiceDate, change.RefusedParty)
	r := w.last()
	if r.Field(canonical.InvoiceDate).Int != 5 || r.Field(canonical.InvoiceNumber).Text() != "8" || r.Field(canonical.InvoicePhase).Text() != "posted" || r.Party.Text() != "55" {
		t.Errorf("%+v", r)
	}
}

func TestHeaderThatCannotBeShownIsALetterAlone(t *testing.T) {
	w := tell(t, invoices())
	if v := w.apply(opCreate, map[string]change.Value{"state": change.OfString("zombie")}); v.Kind != change.Park || len(w.rows) > 0 {
		t.Errorf("%+v, rows %v", v, w.rows)
	}
	w.wants(w.apply(opUpdate, map[string]change.Value{"state": change.OfString("d")}), change.Pass)
	if w.healed != 1 {
		t.Errorf("%d letters healed, want 1", w.healed)
	}
}

func TestUnreadableParentKeepsTheKnownOne(t *testing.T) {
	w := tell(t, lines())
	unreadable := map[string]change.Value{"invoice": {Kind: change.Bytes, Bytes: []byte{1}}}
	if v := w.apply(opCreate, unreadable); v.Kind != change.Park || len(w.rows) > 0 {
		t.Errorf("%+v, rows %v", v, w.rows)
	}
	w.apply(opUpdate, map[string]change.Value{"invoice": change.OfInt(34)})
	w.wants(w.apply(opUpdate, unreadable), change.Park, change.RefusedParent)
	if r := w.last(); r.Doc != "34" {
		t.Errorf("document %q, want 34", r.Doc)
	}
}

// A creation time that cannot be taken stays unknown: the commit of the next
// change is not it. Another snapshot can give it.
func TestRefusedMilestone(t *testing.T) {
	const minusInfinity = -9223372036832400000
	w := tell(t, invoices())
	v := w.apply(opRead, map[string]change.Value{"state": change.OfString("d"), "created": change.OfTimestamp(minusInfinity), "changed": change.OfTimestamp(firstCommit - 5)})
	w.wants(v, change.Park, change.RefusedCreated)
	if r := w.last(); !r.Times[change.Created].IsZero() || r.Commit.Micros != firstCommit-5 {
		t.Errorf("%+v", r)
	}
	w.wants(w.apply(opUpdate, map[string]change.Value{"state": change.OfString("p"), "created": change.OfTimestamp(minusInfinity)}), change.Pass, change.RefusedCreated)
	if r := w.last(); !r.Times[change.Created].IsZero() || r.Times[change.Invoiced].IsZero() {
		t.Errorf("%+v", r)
	}
	w.wants(w.apply(opRead, map[string]change.Value{"state": change.OfString("p"), "created": change.OfTimestamp(77)}), change.Pass)
	if r := w.last(); r.Times[change.Created] != (change.Instant{Micros: 77, Approximate: true}) || w.healed != 1 {
		t.Errorf("%+v, %d healed", r, w.healed)
	}
	w = tell(t, invoices())
	w.wants(w.apply(opRead, map[string]change.Value{"state": change.OfString("d"), "changed": change.OfTimestamp(minusInfinity)}), change.Park, change.RefusedCommit)
	if r := w.last(); r.Commit.Micros != firstCommit+1 || !r.Commit.Approximate {
		t.Errorf("%+v", r)
	}
}

// A commit time that is none leaves the row without it, unless it had to tell the
// epoch.
func TestRefusedCommitTime(t *testing.T) {
	w := tell(t, invoices())
	img := w.image(opCreate, map[string]change.Value{"state": change.OfString("p"), "number": change.OfString("7")})
	img[wantMicros] = change.OfInt(1 << 62)
	w.wants(w.again(img), change.Park, change.RefusedCommit, change.RefusedCreated, change.RefusedInvoiced)
	if r := w.last(); r.Field(canonical.InvoiceNumber).Text() != "7" || !r.Times[change.Created].IsZero() || r.Commit.Micros != 0 {
		t.Errorf("%+v", r)
	}
	w.wants(w.apply(opUpdate, map[string]change.Value{"state": change.OfString("p")}), change.Pass, change.RefusedCreated, change.RefusedInvoiced)
	src := invoices()
	src.Epochs = []Epoch{{Number: 1, Since: 5}}
	w = tell(t, src)
	if v := w.again(img); v.Reason != ReasonEnvelope || len(w.rows) > 0 {
		t.Errorf("%+v, rows %v", v, w.rows)
	}
}

// The same image is judged once, unless what refused it has been mended.
func TestRefusedImageAgain(t *testing.T) {
	src := lines()
	src.Fields[canonical.LineCredits] = Field{Columns: []string{"of"}, Map: map[string]string{"a": "b"}}
	w := tell(t, src)
	img := w.image(opCreate, map[string]change.Value{"invoice": change.OfInt(34), "of": change.OfString("z")})
	w.wants(w.again(img), change.Park, canonical.LineCredits)
	if v := w.again(img); v.Reason != ReasonRepeated || len(w.rows) != 1 {
		t.Errorf("%+v, %d rows", v, len(w.rows))
	}
	src.Fields[canonical.LineCredits].Map["z"] = "y"
	w.wants(w.again(img), change.Pass)
	if w.healed != 1 {
		t.Errorf("%d letters healed, want 1", w.healed)
	}
}

// A record that cannot be read is its row's, where its key can be.
func TestUnreadableRecordOfAKnownRow(t *testing.T) {
	w := tell(t, lines())
	w.apply(opCreate, map[string]change.Value{"invoice": change.OfInt(34), "quantity": change.OfInt(2)})
	w.wants(w.op.Refuse(Place{Topic: "lines", Offset: 50, Key: "1"}, "record.avro", errUnreadable, w), change.Park, change.RefusedRow)
	if r := w.last(); r.Field(canonical.LineQuantity).Int != 2 || r.Doc != "34" {
		t.Errorf("%+v", r)
	}
	n := len(w.rows)
	if w.op.Refuse(Place{Topic: "lines", Offset: 51, Key: "1"}, "record.avro", errUnreadable, w); len(w.rows) != n {
		t.Error("the mark went out twice")
	}
	if v := w.op.Refuse(Place{Topic: "lines", Offset: 52, Key: "2"}, "record.avro", errUnreadable, w); v.Kind != change.Park || len(w.rows) != n {
		t.Errorf("%+v, %d rows", v, len(w.rows))
	}
	w.wants(w.apply(opUpdate, map[string]change.Value{"invoice": change.OfInt(34)}), change.Pass)
	if w.healed != 2 {
		t.Errorf("%d letters healed, want 2", w.healed)
	}
}
