package intake

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

func keyed(t testing.TB, prefix string, others []string, columns ...string) *Source {
	t.Helper()
	shape, _ := entityNamed(canonical.Product)
	header, _ := shape.Shape("")
	s := &Source{Topic: "cdc.erp.articles", System: "erp", Entity: canonical.Product, Prefix: prefix, Others: others, Key: columns, Fields: make([]Field, len(header.Fields))}
	kind := change.OfString(canonical.KindProduct)
	s.Fields[header.Index("kind")].Constant = &kind
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Two keys of a table never make one id, whatever is in them; keys without a
// slash in a part are what they always were.
func TestKeysNeverMeet(t *testing.T) {
	columns := []string{"a", "b", "c"}
	part := rapid.StringOfN(rapid.SampledFrom([]rune("/:12a")), 0, 5, -1)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(t, "columns")
		draw := func(name string) (Image, []string) {
			texts := rapid.SliceOfN(part, n, n).Draw(t, name)
			var key Image
			for _, p := range texts {
				key = append(key, change.OfString(p))
			}
			return key, texts
		}
		s := &Source{Key: columns[:n]}
		for i := range n {
			s.keyOrder = append(s.keyOrder, i)
		}
		x, xs := draw("x")
		y, ys := draw("y")
		a, errA := s.KeyID(x)
		b, errB := s.KeyID(y)
		if errA != nil || errB != nil {
			return // an empty id
		}
		if same := strings.Join(xs, "\x00") == strings.Join(ys, "\x00"); (a == b) != same {
			t.Fatalf("%q gives %q, %q gives %q", xs, a, ys, b)
		}
		if joined := strings.Join(xs, "/"); (n == 1 || strings.Count(joined, "/") == n-1) && a != joined {
			t.Fatalf("%q gives %q: it has no slash and is not as it was", xs, a)
		}
	})
}

func TestKeysThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, prefix string
		others       []string
		key          []string
		want, err    string
	}{
		{"as it is", "", nil, []string{"5"}, "5", ""},
		{"one part keeps its slash", "", nil, []string{"a/b"}, "a/b", ""},
		{"two parts", "", nil, []string{"EU", "19"}, "EU/19", ""},
		{"a slash in a part", "", nil, []string{"EU/DE", "19"}, "5:EU/DE/2:19", ""},
		{"own prefix", "service:", nil, []string{"5"}, "service:5", ""},
		{"another table's prefix", "", []string{"service:"}, []string{"service:5"}, "", "the prefix of another table"},
		{"empty", "", nil, []string{""}, "", "it is empty"},
		{"empty parts", "", nil, []string{"", ""}, "/", ""},
		{"long", "", nil, []string{strings.Repeat("x", canonical.MaxID+1)}, "", "at most 2048"},
	} {
		s := keyed(t, c.prefix, c.others, []string{"a", "b"}[:len(c.key)]...)
		var key Image
		for _, p := range c.key {
			key = append(key, change.OfString(p))
		}
		got, err := s.KeyID(key)
		if c.err == "" && (err != nil || got != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, got, err, c.want, c.err)
		}
	}
}

// A letter of one row is not healed by another whose id is the beginning of its
// own.
func TestLettersOfIDsThatBeginAlike(t *testing.T) {
	k := New(keyed(t, "", nil, "a"), 0, state.New())
	k.parkAs(Place{Offset: 7}, "a\x00b", ReasonMapping, errUnreadable)
	out := &told{t: t}
	if k.heal("a", out); out.healed != 0 {
		t.Error("the letter of another row is healed")
	}
	if k.heal("a\x00b", out); out.healed != 1 {
		t.Error("the letter is not healed by its own row")
	}
}
