package change

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func positions() *rapid.Generator[Position] {
	return rapid.Custom(func(t *rapid.T) Position {
		return Position{
			Epoch: rapid.Uint32Range(0, 2).Draw(t, "epoch"), Streamed: rapid.Bool().Draw(t, "streamed"),
			LSN: rapid.Int64Range(0, 5).Draw(t, "lsn"), Order: rapid.Int64Range(0, 3).Draw(t, "order"),
		}
	})
}

func TestPositionsAreATotalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := positions().Draw(t, "a"), positions().Draw(t, "b"), positions().Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v", a, b)
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%v <= %v <= %v", a, b, c)
		}
	})
	snapshot, streamed := Position{LSN: 7}, Position{LSN: 7, Streamed: true}
	if snapshot.Compare(streamed) >= 0 {
		t.Error("a snapshot row does not sort before the streamed change of its LSN")
	}
}

func milestonesGen() *rapid.Generator[Milestones] {
	return rapid.Custom(func(t *rapid.T) Milestones {
		var m Milestones
		for i := range m {
			m[i] = Instant{Micros: rapid.Int64Range(0, 4).Draw(t, "at"), Approximate: rapid.Bool().Draw(t, "approximate")}
			if m[i].Micros == 0 {
				m[i] = Instant{}
			}
		}
		return m
	})
}

// Milestones must come out the same whatever image comes first, and however
// often.
func TestMilestonesMergeInAnyOrder(t *testing.T) {
	merge := func(all ...Milestones) Milestones {
		var m Milestones
		for _, o := range all {
			m.Merge(o)
		}
		return m
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := milestonesGen().Draw(t, "a"), milestonesGen().Draw(t, "b"), milestonesGen().Draw(t, "c")
		if merge(a, b, c) != merge(c, a, b) || merge(a, b, c) != merge(b, a, c, a, b) {
			t.Fatalf("%v %v %v", a, b, c)
		}
		m := merge(a, b)
		if m.Merge(a) || m.Merge(b) {
			t.Fatal("merging again changed something")
		}
	})
}

func values() *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		switch kind := Kind(rapid.IntRange(0, int(Nested)).Draw(t, "kind")); kind {
		case String, Bytes:
			return Value{Kind: kind, Bytes: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")}
		case Decimal:
			n, _ := new(big.Int).SetString(rapid.StringMatching(`-?[0-9]{1,38}`).Draw(t, "digits"), 10)
			return DecimalOf(n, rapid.Int32Range(0, 9).Draw(t, "scale"))
		case Null, Missing, Unavailable, Nested:
			return Value{Kind: kind}
		default:
			return Value{Kind: kind, Int: rapid.Int64().Draw(t, "int")}
		}
	})
}

func rows() *rapid.Generator[Row] {
	return rapid.Custom(func(t *rapid.T) Row {
		text := rapid.StringN(0, 6, 20)
		return Row{
			System: text.Draw(t, "system"), Entity: text.Draw(t, "entity"), Doc: text.Draw(t, "doc"), Part: text.Draw(t, "part"),
			ID: text.Draw(t, "id"), Topic: text.Draw(t, "topic"), Deleted: rapid.Bool().Draw(t, "deleted"),
			Read: rapid.Int64Range(0, 1<<50).Draw(t, "read"), Displaced: rapid.Bool().Draw(t, "displaced"), Swept: rapid.Bool().Draw(t, "swept"),
			Pos: positions().Draw(t, "pos"), Life: positions().Draw(t, "life"),
			Commit: Instant{Micros: rapid.Int64().Draw(t, "commit"), Approximate: rapid.Bool().Draw(t, "approximate")},
			Times:  milestonesGen().Draw(t, "times"), Party: values().Draw(t, "party"), Fields: rapid.SliceOfN(values(), 0, 5).Draw(t, "fields"),
			Refused: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Refusal {
				return Refusal{Field: rapid.IntRange(RefusedInvoiced, 40).Draw(t, "field"), Reason: text.Draw(t, "reason")}
			}), 0, 2).Draw(t, "refused"),
		}
	})
}

func TestRowsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rows().Draw(t, "row")
		b := AppendRow(nil, &r)
		back, err := DecodeRow(b)
		if err != nil {
			t.Fatal(err)
		}
		// The stored form is the measure: nil and empty slices are one there.
		if !bytes.Equal(AppendRow(nil, &back), b) || StoredDeleted(b) != r.Deleted {
			t.Fatalf("%+v came back as %+v", r, back)
		}
		for n := range b {
			if _, err := DecodeRow(b[:n]); err == nil {
				t.Fatalf("cut to %d of %d bytes it is still a row", n, len(b))
			}
		}
		if _, err := DecodeRow(append(b, 0)); err == nil {
			t.Fatal("a byte too many is not noticed")
		}
	})
}

// Rows that were stored before refusals were known are read, and a row without
// any is written, byte for byte as then.
func TestRowsWithoutRefusalsAreStoredAsBefore(t *testing.T) {
	const stored = "01000363726d056f72646572013900013905746f706963000e0000000000040000000000000000000000000002070161040a"
	r := Row{System: "crm", Entity: "order", Doc: "9", ID: "9", Topic: "topic", Pos: Position{LSN: 7}, Commit: Instant{Micros: 2}, Fields: []Value{OfString("a"), OfInt(5)}}
	if got := hex.EncodeToString(AppendRow(nil, &r)); got != stored {
		t.Errorf("stored as\n%s, before it was\n%s", got, stored)
	}
	b, err := hex.DecodeString(stored)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := DecodeRow(b); err != nil || back.Refused != nil || !back.Field(1).Equal(OfInt(5)) {
		t.Errorf("%+v %v", back, err)
	}
	r.Refused = []Refusal{Refuse(1, errors.New(strings.Repeat("ü", 200)))}
	back, err := DecodeRow(AppendRow(nil, &r))
	if err != nil || !back.Refuses(1) || back.Refuses(RefusedRow) || len(back.Refused[0].Reason) > MaxRefusalReason || !utf8.ValidString(back.Refused[0].Reason) {
		t.Errorf("%+v %v", back, err)
	}
}

func TestDocumentsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stored [][]byte
		all := rapid.SliceOfN(rows(), 1, 4).Draw(t, "rows")
		for i := range all {
			stored = append(stored, AppendRow(nil, &all[i]))
		}
		h := DocumentHead{System: "erp", Entity: "invoice", ID: rapid.StringN(0, 5, 20).Draw(t, "id"), Party: "7", Version: rapid.Uint64().Draw(t, "version")}
		b := AppendDocument(nil, h, stored)
		doc, err := DecodeDocument(b)
		if err != nil || doc.Head() != h || len(doc.Children) != len(all)-1 {
			t.Fatalf("%v %+v", err, doc)
		}
		if got, err := DecodeDocumentHead(b); err != nil || got != h {
			t.Fatalf("%v %+v", err, got)
		}
		for n := range b {
			if _, err := DecodeDocument(b[:n]); err == nil {
				t.Fatalf("cut to %d of %d bytes it is still a document", n, len(b))
			}
		}
		a := AccountDocument{Account: ID{1, 2}, Stored: b, Link: &Link{Rule: RuleReference, Reference: "CRM-1", Since: Instant{Micros: 5}, Ignored: []string{"CRM-2"}}}
		back, err := DecodeAccountDocument(AppendAccountDocument(nil, &a))
		if err != nil || back.Account != a.Account || !bytes.Equal(back.Stored, b) || back.Link.Reference != "CRM-1" || len(back.Link.Ignored) != 1 {
			t.Fatalf("%v %+v", err, back)
		}
	})
}

func TestDecimalText(t *testing.T) {
	for want, v := range map[string]Value{
		"0": DecimalOf(big.NewInt(0), 4), "1247.88": DecimalOf(big.NewInt(1247880), 3), "-0.5": DecimalOf(big.NewInt(-50), 2),
		"100": DecimalOf(big.NewInt(100), 0), "-12000": {Kind: Decimal, Int: -12, Scale: -3}, "0.001": DecimalOf(big.NewInt(1), 3),
		"99999999999999999999999999999.999999999": DecimalOf(bigInt("99999999999999999999999999999999999999"), 9),
		"-170141183460469231731.687303715":        DecimalOf(bigInt("-170141183460469231731687303715"), 9),
	} {
		if got := DecimalText(v); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n, _ := new(big.Int).SetString(rapid.StringMatching(`-?[1-9][0-9]{0,40}`).Draw(t, "digits"), 10)
		if got := Unscaled(DecimalOf(n, 2)); got.Cmp(n) != 0 {
			t.Fatalf("%s came back as %s", n, got)
		}
	})
	if v := DecimalOf(big.NewInt(math.MaxInt64), 0); v.Bytes != nil {
		t.Error("64 bits suffice")
	}
}

func bigInt(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 10)
	return n
}

func FuzzDecodeRow(f *testing.F) {
	r := Row{System: "erp", Entity: "invoice", ID: "1", Fields: []Value{OfString("a"), DecimalOf(big.NewInt(5), 2)}}
	f.Add(AppendRow(nil, &r))
	f.Add([]byte{1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRow(b); err == nil {
			if _, err := DecodeRow(AppendRow(nil, &r)); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}

func FuzzDecodeDocument(f *testing.F) {
	r := Row{System: "erp", Entity: "invoice", ID: "1"}
	f.Add(AppendDocument(nil, DocumentHead{ID: "1"}, [][]byte{AppendRow(nil, &r), AppendRow(nil, &r)}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = DecodeDocument(b)
		_, _ = DecodeDocumentHead(b)
		_, _ = DecodeAccountDocument(b)
		_, _ = DecodeLink(b)
	})
}
