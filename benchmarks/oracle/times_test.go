package oracle

import "testing"

func streamed(lsn, commit int64, row map[string]any) image {
	return image{at: position{lsn: lsn, streamed: 1}, commit: commit, row: row, deleted: row == nil}
}

func snapshot(lsn int64, row map[string]any) image {
	return image{at: position{lsn: lsn}, snapshot: true, row: row}
}

func lived(images ...image) life { return currentLife(byPosition(images)) }

func TestCurrentLife(t *testing.T) {
	state := func(s string) map[string]any { return map[string]any{"state": s, "comment": unavailable} }
	// Delivered out of order and twice, with an earlier life.
	l := lived(
		streamed(5, 500, nil),
		streamed(6, 600, map[string]any{"state": "draft", "comment": "long"}),
		streamed(8, 800, state("won")),
		streamed(7, 700, state("converted")),
		streamed(4, 400, map[string]any{"state": "won", "comment": "of the first life"}),
		streamed(5, 500, nil),
		streamed(7, 700, state("converted")),
	)
	if len(l) != 3 {
		t.Fatalf("%d images in the life, want 3", len(l))
	}
	if got := l.last().row["comment"]; got != "long" {
		t.Errorf("the value that was not sent is %v", got)
	}
	if got := l.created(); got != (moment{micros: 600}) {
		t.Errorf("created %v", got)
	}
	// An overtaken image counts, one of an ended life does not.
	if got := l.milestone(written, "won", "converted"); got != (moment{micros: 700}) {
		t.Errorf("won %v", got)
	}
	if l := lived(streamed(2, 2, state("won")), streamed(3, 3, nil)); len(l) != 0 {
		t.Errorf("a deleted row lives: %v", l)
	}
	if l := lived(streamed(2, 2, map[string]any{"comment": unavailable})); l.last().row["comment"] != nil {
		t.Errorf("a value never known is %v", l.last().row["comment"])
	}
	// At one log position a streamed image comes after the snapshot's.
	if l := lived(streamed(2, 2, state("b")), snapshot(2, state("a"))); l.last().row["state"] != "b" {
		t.Errorf("the snapshot wins: %v", l.last().row)
	}
}

func TestSnapshotTimesAreApproximate(t *testing.T) {
	l := lived(
		snapshot(1, map[string]any{"state": "won", "create_date": int64(10), "write_date": int64(20)}),
		streamed(2, 30, map[string]any{"state": "won"}),
	)
	if got := l.milestone(written, "won"); got != (moment{20, true}) {
		t.Errorf("won %v", got)
	}
	if got := l.created(); got != (moment{10, true}) {
		t.Errorf("created %v", got)
	}
	if got := l.committed(); got != (moment{micros: 30}) {
		t.Errorf("committed %v", got)
	}
	never := lived(snapshot(1, map[string]any{"state": "lost", "create_date": int64(10), "write_date": nil}))
	if got := never.milestone(written, "lost"); got != (moment{10, true}) {
		t.Errorf("lost %v", got)
	}
}

func TestLinkedSince(t *testing.T) {
	id := func(code string, party int32) map[string]any { return map[string]any{"code": code, "party": party} }
	f := &folded{tables: map[string]map[string]life{"erp.party_identifier": {
		// Right, wrong, right again: since the third.
		"1": lived(streamed(1, 1, id("CRM-5", 7)), streamed(2, 2, id("CRM-6", 7)), streamed(3, 3, id("CRM-5", 7)), streamed(4, 4, id("CRM-5", 7))),
		// A larger number is not followed, nor is what names nobody.
		"2": lived(streamed(1, 1, id("CRM-10", 7))),
		"3": lived(streamed(1, 1, id("VAT-1", 7))),
		// Moved to the party later.
		"4": lived(streamed(1, 1, id("CRM-1", 7)), streamed(9, 9, id("CRM-1", 8))),
	}}}
	ti := timing{fold: f}
	if got, ok := ti.followed("erp", "7"); !ok || got != (moment{micros: 3}) {
		t.Errorf("party 7 is linked since %v, %v", got, ok)
	}
	if got, ok := ti.followed("erp", "8"); !ok || got != (moment{micros: 9}) {
		t.Errorf("party 8 is linked since %v, %v", got, ok)
	}
	if _, ok := ti.followed("erp", "9"); ok {
		t.Error("party 9 is linked")
	}
}

func TestPaidAt(t *testing.T) {
	link := func(lsn, commit int64) life { return lived(streamed(lsn, commit, map[string]any{})) }
	of := func(invoice int32) life { return lived(streamed(1, 1, map[string]any{"invoice": invoice})) }
	ti := timing{
		fold: &folded{tables: map[string]map[string]life{
			paymentTable:               {"1": link(9, 900), "2": link(5, 500), "3": link(7, 700), "4": link(8, 800)},
			"erp.account_invoice_line": {"1": of(1), "2": of(2), "3": of(3)},
		}},
		rows: Expected{
			"invoices": {{"native_id": "1", "gross": "100", "paid": "110"}, {"native_id": "2", "gross": "100.01", "paid": "100"}, {"native_id": "3", "gross": "99", "paid": "99"}, {"native_id": "4", "gross": "0", "paid": "0"}},
			"payments": {
				{"native_id": "1", "invoice_native_id": "1", "amount": "10"},
				{"native_id": "2", "invoice_native_id": "1", "amount": "60"},
				{"native_id": "3", "invoice_native_id": "1", "amount": "40"},
				{"native_id": "4", "invoice_native_id": "2", "amount": "100"},
				{"native_id": "5", "invoice_native_id": "2"},
			},
		},
	}
	for _, c := range []struct {
		bills []string
		at    int64 // 0: never
	}{
		{[]string{"1"}, 700},
		{[]string{"2"}, 0},      // lacks a cent
		{[]string{"1", "3"}, 0}, // one is open
		{[]string{"4"}, 0},      // a bill of nothing
	} {
		if got, err := ti.paid(c.bills, nil); err != nil || got != (moment{micros: c.at}) {
			t.Errorf("%v are paid at %v, %v; want %d", c.bills, got, err, c.at)
		}
	}
	ti.rows["payments"] = append(ti.rows["payments"], Row{"native_id": "4", "invoice_native_id": "3", "amount": "99"})
	if got, err := ti.paid([]string{"1", "3"}, nil); err != nil || got != (moment{micros: 800}) {
		t.Errorf("two bills are paid at %v, %v", got, err)
	}
}

func TestDailyKPIs(t *testing.T) {
	deals := []Row{
		{"won_at": "2026-01-01T00:00:00.000000Z", "activated_at": "2026-01-02T00:00:01.500000Z", "stage": "activated"},
		{"won_at": "2026-01-01T23:00:00.000000Z", "activated_at": "2026-01-02T00:00:00.000000Z", "stage": "activated"},
		{"won_at": "2026-01-01T23:00:00.000000Z", "activated_at": "2026-01-02T00:00:00.000000Z", "stage": "activated", "approximate": "won_at"},
		{"won_at": "2026-01-03T23:00:00.000000Z", "stage": "won", "approximate": "won_at"},
		{"won_at": "2026-01-03T23:00:00.000000Z", "stage": "lost"},
		{"won_at": "2026-01-05T00:00:02.000000Z", "activated_at": "2026-01-05T00:00:00.250000Z", "stage": "lost"},
		{"activated_at": "2026-01-05T10:00:00.000000Z", "stage": "activated"},
	}
	want := []string{
		"2026-01-02 quote_to_activation 2 1 0 86401.5 86401.5 86401.5 86401.5",
		"2026-01-03 quote_to_activation 0 0 1    ",
		"2026-01-05 quote_to_activation 0 0 0    ",
		"2026-01-02 invoice_lag 0 0 3    ",
		"2026-01-05 invoice_lag 0 0 1    ",
	}
	var got []string
	for _, r := range dailyKPIs(deals) {
		got = append(got, r["day"]+" "+r["metric"]+" "+r["count"]+" "+r["approximate"]+" "+r["open"]+" "+r["p50"]+" "+r["p90"]+" "+r["p99"]+" "+r["max"])
	}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i, got[i], want[i])
		}
	}
}
