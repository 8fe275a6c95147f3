package document

import (
	"strings"
	"testing"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// shown keeps the last image of one document.
type shown struct {
	doc     change.Document
	settled []change.Letter
}

func (s *shown) Settled(l change.Letter) { s.settled = append(s.settled, l) }

func (s *shown) Document(_ change.DocumentHead, stored []byte) {
	var err error
	if s.doc, err = change.DecodeDocument(stored); err != nil {
		panic(err)
	}
}

func apply(t *testing.T, o *Operator, r change.Row) change.Verdict {
	t.Helper()
	r.System, r.Entity, r.Doc, r.Topic = "erp", canonical.Invoice, "7", "bills"
	return o.Apply(&r, change.AppendRow(nil, &r), Place{Topic: "rows", Offset: r.Pos.LSN})
}

// A row that its document has no room for is a letter, and the document says
// that it lacks one until the row is there, or gone.
func TestNoRoom(t *testing.T) {
	o := New(state.New(), Limits{Rows: 2, Bytes: 4096})
	out := &shown{}
	lacks := func(want string) {
		t.Helper()
		if err := o.Flush(out); err != nil {
			t.Fatal(err)
		}
		got := ""
		if r, refused := out.doc.Header.Refusal(change.RefusedRow); refused {
			got, _, _ = strings.Cut(r.Reason, ":")
		}
		if got != want {
			t.Fatalf("the document says %q, want %q", got, want)
		}
	}
	line := func(id string, at int64, fields ...change.Value) change.Row {
		return change.Row{Part: canonical.PartLine, ID: id, Pos: change.Position{LSN: at}, Fields: fields}
	}
	apply(t, o, change.Row{ID: "7"})
	apply(t, o, line("1", 1))
	apply(t, o, line("2", 2))
	lacks("")
	for _, at := range []int64{3, 4} {
		if v := apply(t, o, line("3", at)); v.Kind != change.Park || v.Reason != ReasonTooLarge {
			t.Fatalf("a third line is judged %+v", v)
		}
		lacks("1 of its rows are not in it")
	}
	// An update that makes a known row too large leaves the old one, marked.
	if v := apply(t, o, line("2", 5, change.OfString(strings.Repeat("x", 5000)))); v.Kind != change.Park {
		t.Fatalf("a large line is judged %+v", v)
	}
	lacks("2 of its rows are not in it")
	if len(out.doc.Children) != 2 || out.doc.Children[1].Pos.LSN != 2 {
		t.Fatalf("children %+v", out.doc.Children)
	}
	// An image from before the one that was refused does not take its mark away.
	if v := apply(t, o, line("2", 4, change.OfString("y"))); v.Kind != change.Drop {
		t.Fatalf("an overtaken line is judged %+v", v)
	}
	lacks("2 of its rows are not in it")
	apply(t, o, line("2", 6, change.OfString("z")))
	lacks("1 of its rows are not in it")
	gone := line("1", 7)
	gone.Deleted = true
	apply(t, o, gone)
	lacks("1 of its rows are not in it")
	apply(t, o, line("3", 8))
	lacks("")
	if len(out.doc.Children) != 2 {
		t.Fatalf("children %+v", out.doc.Children)
	}
	// Three images were letters; all are settled, and told as the rows' source's.
	if w := o.Waits(); len(w) != 1 || w[0].Topic != "bills" || w[0].Letters != 3 || w[0].Healed != 3 {
		t.Errorf("counted %+v", w)
	}
	for i, offset := range []int64{5, 3, 4} {
		if l := out.settled[i]; l.Offset != offset || l.Topic != "rows" || l.State != "healed" || l.ID == "" || l.Document != "7" || len(l.Fingerprint) != 12 {
			t.Errorf("settled %+v", l)
		}
	}
	if w := o.Waits(); len(w) > 0 {
		t.Errorf("counted once more: %+v", w)
	}
}
