package chfront

import (
	"bufio"
	"bytes"
	"testing"
)

func TestShapeOf(t *testing.T) {
	for _, c := range []struct {
		query    string
		insert   bool
		format   string
		trailing bool
	}{
		{"SELECT 1", false, "", false},
		{"SELECT 1 format JSON", false, "JSON", false},
		{"SELECT 1 FORMAT JSON SETTINGS a = 1;", false, "JSON", true},
		{"SELECT 1 FORMAT JSON ;", false, "JSON", false},
		{"SELECT 1 -- FORMAT JSON", false, "", false},
		{"SELECT 1 FORMAT JSON -- as JSON", false, "JSON", false},
		{"SELECT ' FORMAT JSON'", false, "", false},
		{"SELECT (SELECT 1 FORMAT JSON)", false, "", false},
		{"SELECT a AS format", false, "", false},
		{"SELECT 'it''s' /* ( */ FORMAT CSV", false, "CSV", false},
		{"/* x */ insert into t (a) FORMAT Native", true, "Native", false},
		{"INSERT INTO t FORMAT JSONEachRow {\"format\": 1}", true, "JSONEachRow", true},
		{"INSERT INTO t SETTINGS a = 1 FORMAT CSV", true, "CSV", false},
		{"INSERT INTO `FORMAT x` VALUES (1)", true, "", false},
		{"", false, "", false},
		{"'", false, "", false},
	} {
		s := shapeOf(c.query)
		if s.insert != c.insert || s.format != c.format || s.trailing != c.trailing {
			t.Errorf("%q is %+v", c.query, s)
		}
	}
}

func FuzzShapeOf(f *testing.F) {
	for _, seed := range []string{"SELECT 1 FORMAT JSON", "INSERT INTO t FORMAT x 'a", "`\\", "/*", "-- \n#!", "((('\\''"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		s := shapeOf(query)
		if len(s.head) > len(query) || query[:len(s.head)] != s.head {
			t.Errorf("head %q is no beginning of %q", s.head, query)
		}
	})
}

// A block that was reframed to revision 0 is the block itself, whatever it
// holds; broken ones end in an error, not in a panic or an endless copy.
func FuzzReframe(f *testing.F) {
	f.Add([]byte("\x01\x01\x01n\x05UInt8\x07"))
	f.Add([]byte("\x01\x02\x01s\x06String\x01a\x00"))
	f.Add([]byte("\x01\x01\x01l\x16LowCardinality(String)\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01x\x01\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x01\x01m\x13Map(String, UInt16)\x01\x00\x00\x00\x00\x00\x00\x00\x01k\x01\x00"))
	f.Add([]byte("\x01\x01\x01t\x1eTuple(`a, (` Int8, Nullable(Date)"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		err := reframe(w, bufio.NewReader(bytes.NewReader(raw)), 0)
		if e := w.Flush(); e != nil {
			t.Fatal(e)
		}
		if err == nil && !bytes.Equal(canonical(raw), canonical(out.Bytes())) {
			t.Errorf("%q became %q", raw, out.Bytes())
		}
	})
}

// canonical leaves out zero bytes and the continuation bit: a length may come
// in a longer form than needed and is written in the shortest.
func canonical(raw []byte) []byte {
	kept := make([]byte, 0, len(raw))
	for _, b := range raw {
		if b&0x7f != 0 {
			kept = append(kept, b&0x7f)
		}
	}
	return kept
}
