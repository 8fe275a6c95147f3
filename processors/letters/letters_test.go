package letters

import "testing"

func TestOneCauseOneFingerprint(t *testing.T) {
	same := [][2]string{
		{`row 12 of cdc.a: field phase: "zombie" is not in the catalog's map`, `row 4711 of cdc.a: field phase: "ghost \" town" is not in the catalog's map`},
		{"the record has 1114374 bytes, the limit is 1048576", "the record has 2000000 bytes, the limit is 1048576"},
		{"row a/b-9 of cdc.a: schema id 2: decoding Avro at byte 229", "row 7b9c7fd0-12ab-4cde-9f00-123456789abc of cdc.a: schema id 3: decoding Avro at byte 8"},
		{"id 7b9c7fd0-12ab-4cde-9f00-123456789abc is known", "id 00000000-12ab-4cde-9f00-123456789abc is known"},
	}
	for _, pair := range same {
		if a, b := Cause(pair[0]), Cause(pair[1]); a != b {
			t.Errorf("two causes: %q and %q", a, b)
		}
	}
	const m = "row 1 of cdc.a: field phase: it is empty"
	one := Fingerprint("source.mapping", "cdc.a", m)
	if len(one) != 12 || one != Fingerprint("source.mapping", "cdc.a", "row 2 of cdc.a: field phase: it is empty") {
		t.Errorf("fingerprint %q", one)
	}
	for _, other := range []string{Fingerprint("source.key", "cdc.a", m), Fingerprint("source.mapping", "cdc.b", m), Fingerprint("source.mapping", "cdc.a", "row 1 of cdc.a: field name: it is empty")} {
		if other == one {
			t.Error("another cause has the same fingerprint")
		}
	}
}

func TestWindow(t *testing.T) {
	limit := Limit{Count: 1000, Percent: 20}
	var w Window
	feed := func(records, every int) (stopped int) {
		for i := range records {
			w.Record()
			if every > 0 && i%every == 0 {
				w.Letter()
			}
			w = DecodeWindow(w.Append(nil)) // as a restart would
			if w.Exceeds(limit) != nil {
				return i + 1
			}
		}
		return 0
	}
	if at := feed(50_000, 10); at != 0 {
		t.Errorf("one in ten stops after %d", at)
	}
	w = Window{}
	if at := feed(5_000, 1); at != 1000 {
		t.Errorf("nothing but letters: stops after %d, want 1000", at)
	}
	w = Window{}
	if at := feed(50_000, 4); at < 3_900 || at > 4_000 {
		t.Errorf("one in four: stops after %d", at)
	}
	w = Window{}
	feed(999, 1)
	if at := feed(20_000, 0); at != 0 {
		t.Errorf("good records stop it after %d", at)
	}
	if n := w.Letters(); n != 0 || w.Records() > 10_000 {
		t.Errorf("%d letters among %d records are remembered for ever", n, w.Records())
	}
	if w.Exceeds(Limit{}) != nil {
		t.Error("no limit is one")
	}
	if got := DecodeWindow([]byte{1, 2}); got != (Window{}) {
		t.Errorf("a torn window: %+v", got)
	}
}
