package document_test

import (
	"testing"

	"syncline/processors/document"
	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// sent takes what goes out.
type sent struct{ number string }

func (*sent) Settled(change.Letter) {}

func (s *sent) Document(_ change.DocumentHead, stored []byte) {
	d, err := change.DecodeDocument(stored)
	if err != nil {
		panic(err)
	}
	s.number = d.Header.Fields[0].Text()
}

func header(lsn int64, number string) *change.Row {
	r := &change.Row{
		System: "erp", Entity: canonical.Invoice, ID: "7", Doc: "7", Topic: "cdc.erp.bills",
		Pos: change.Position{LSN: lsn, Streamed: true}, Party: change.OfString("55"), Fields: make([]change.Value, 3),
	}
	r.Fields[0] = change.OfString(number)
	return r
}

// One source row may come through two tasks of intake (its key was written in
// two ways), and so out of order: the older image is dropped.
func TestOlderImageOfAnotherTaskIsDropped(t *testing.T) {
	op := document.New(state.New(), document.Limits{})
	out := &sent{}
	apply := func(r *change.Row) change.Verdict {
		t.Helper()
		v := op.Apply(r, change.AppendRow(nil, r), document.Place{})
		if err := op.Flush(out); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := apply(header(20, "new")); v.Kind != change.Pass {
		t.Fatalf("the first image: %+v", v)
	}
	if v := apply(header(10, "old")); v.Kind != change.Drop || v.Reason != "row.stale" {
		t.Errorf("the older image: %+v, want row.stale", v)
	}
	if out.number != "new" {
		t.Errorf("the document shows %s, want new", out.number)
	}
}
