package state

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// transactional is what every implementation of Store must offer to the engine;
// the suite below runs over it, so that another one (an arena) is held to the
// same.
type transactional interface {
	Store
	Changes(fn func(key, value []byte))
	Commit()
	Rollback()
	Restore(key string, value []byte)
	Hash() uint64
	Len() int
	Bytes() int
	OverlayBytes() int
}

var implementations = map[string]func() transactional{
	"table": func() transactional { return New() },
}

func forEach(t *testing.T, fn func(t *testing.T, s transactional)) {
	for name, open := range implementations {
		t.Run(name, func(t *testing.T) { fn(t, open()) })
	}
}

func put(s Store, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		s.Put([]byte(pairs[i]), []byte(pairs[i+1]))
	}
}

func scan(s Store, prefix, from string) []string {
	var out []string
	s.ScanFrom([]byte(prefix), []byte(from), func(k, v []byte) bool {
		out = append(out, string(k)+"="+string(v))
		return true
	})
	return out
}

func wantEqual(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReadYourWrites(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		if s.Get([]byte("a")) != nil {
			t.Error("an empty store has a value")
		}
		put(s, "a", "1")
		wantEqual(t, "1", string(s.Get([]byte("a"))))
		s.Commit()
		wantEqual(t, "1", string(s.Get([]byte("a"))))
		put(s, "a", "2")
		wantEqual(t, "2", string(s.Get([]byte("a"))))
		s.Delete([]byte("a"))
		if s.Get([]byte("a")) != nil {
			t.Error("a deleted key shows its base value")
		}
		put(s, "a", "3")
		wantEqual(t, "3", string(s.Get([]byte("a"))))
	})
}

func TestPutCopies(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		k, v := []byte("key"), []byte("value")
		s.Put(k, v)
		copy(k, "xxx")
		copy(v, "xxxxx")
		wantEqual(t, "value", string(s.Get([]byte("key"))))
	})
}

func TestRestoreCopies(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		v := []byte("value")
		s.Restore("key", v)
		copy(v, "xxxxx")
		wantEqual(t, "value", string(s.Get([]byte("key"))))
	})
}

func TestEmptyValueIsAValue(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		put(s, "a", "")
		s.Restore("b", []byte{})
		s.Commit()
		for _, k := range []string{"a", "b"} {
			if s.Get([]byte(k)) == nil {
				t.Errorf("%s is gone", k)
			}
		}
		wantEqual(t, 2, s.Len())
	})
}

func TestScanMergesBothLayers(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		put(s, "p/1", "a", "p/3", "b", "p/5", "c", "q/1", "d", "o", "e")
		s.Commit()
		put(s, "p/0", "n", "p/3", "B", "p/4", "m", "p/6", "z")
		s.Delete([]byte("p/5"))
		s.Delete([]byte("p/7"))
		wantEqual(t, []string{"p/0=n", "p/1=a", "p/3=B", "p/4=m", "p/6=z"}, scan(s, "p/", ""))
		wantEqual(t, []string{"p/3=B", "p/4=m", "p/6=z"}, scan(s, "p/", "p/2"))
		wantEqual(t, []string{"p/3=B", "p/4=m", "p/6=z"}, scan(s, "p/", "p/3"))
		wantEqual(t, []string{"p/6=z"}, scan(s, "p/", "p/5"))
		wantEqual(t, []string(nil), scan(s, "p/", "p/9"))
		wantEqual(t, []string{"o=e", "p/0=n", "p/1=a", "p/3=B", "p/4=m", "p/6=z", "q/1=d"}, scan(s, "", ""))
		var first []string
		s.Scan([]byte("p/"), func(k, _ []byte) bool {
			first = append(first, string(k))
			return len(first) < 2
		})
		wantEqual(t, []string{"p/0", "p/1"}, first)
	})
}

func TestPrefixOfHighestBytes(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		put(s, "\xff\xff", "a", "\xff\xff\xff", "b", "\xfe", "c")
		s.Commit()
		put(s, "\xff\xff\x00", "d")
		wantEqual(t, []string{"\xff\xff=a", "\xff\xff\x00=d", "\xff\xff\xff=b"}, scan(s, "\xff\xff", ""))
	})
}

func TestChangesAreTheChangelog(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		put(s, "a", "1", "b", "2")
		s.Commit()
		put(s, "c", "3", "a", "x")
		s.Delete([]byte("b"))
		put(s, "never", "n")
		s.Delete([]byte("never")) // unknown below: no tombstone
		s.Delete([]byte("absent"))
		var got []string
		s.Changes(func(k, v []byte) {
			if v == nil {
				got = append(got, string(k)+" gone")
				return
			}
			got = append(got, string(k)+"="+string(v))
		})
		slices.Sort(got) // a changelog has each key once, in any order
		wantEqual(t, []string{"a=x", "b gone", "c=3"}, got)
		s.Commit()
		s.Changes(func(k, _ []byte) { t.Errorf("%s is a change after the commit", k) })
		wantEqual(t, 0, s.OverlayBytes())
		wantEqual(t, 2, s.Len())
		wantEqual(t, 4, s.Bytes())
	})
}

func TestEqualValueIsNoChange(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		put(s, "a", "1")
		s.Commit()
		put(s, "a", "1")
		s.Changes(func(k, _ []byte) { t.Errorf("%s is a change, but has its committed value", k) })
		put(s, "b", "2", "a", "3", "a", "1") // there and back: written, and harmless
		var last string
		s.Changes(func(k, v []byte) { last += string(k) + string(v) + " " })
		if last != "b2 a1 " && last != "a1 b2 " && last != "b2 " {
			t.Errorf("changes %q", last)
		}
		s.Rollback()
		wantEqual(t, []string{"a=1"}, scan(s, "", ""))
	})
}

func TestRollbackLeavesNoTrace(t *testing.T) {
	forEach(t, func(t *testing.T, s transactional) {
		put(s, "a", "1", "b", "2")
		s.Commit()
		before := s.Hash()
		put(s, "a", "changed", "c", "new")
		s.Delete([]byte("b"))
		if s.Hash() != before {
			t.Error("the hash of the committed image moves with the overlay")
		}
		s.Rollback()
		wantEqual(t, before, s.Hash())
		wantEqual(t, []string{"a=1", "b=2"}, scan(s, "", ""))
		wantEqual(t, 0, s.OverlayBytes())
	})
}

func TestHashTellsImagesApart(t *testing.T) {
	hash := func(pairs ...string) uint64 {
		s := New()
		put(s, pairs...)
		s.Commit()
		return s.Hash()
	}
	if hash("a", "1", "b", "2") != hash("b", "2", "a", "1") {
		t.Error("the order of writing shows")
	}
	for _, other := range [][]string{{"a", "1"}, {"a", "2", "b", "2"}, {"a", "1", "b", "2", "c", ""}, {"a1", "b", "2", ""}, {"a", "1\x00b\x002"}} {
		if hash("a", "1", "b", "2") == hash(other...) {
			t.Errorf("equal hash for %v", other)
		}
	}
}

// TestAgainstModel runs random operations against two plain maps.
func TestAgainstModel(t *testing.T) {
	for name, open := range implementations {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { againstModel(t, open) })
		})
	}
}

func againstModel(t *rapid.T, open func() transactional) {
	s := open()
	base, over := map[string]string{}, map[string]*string{}
	view := func() map[string]string {
		out := maps.Clone(base)
		for k, v := range over {
			if v == nil {
				delete(out, k)
			} else {
				out[k] = *v
			}
		}
		return out
	}
	listed := func(prefix, from string) (out []string) {
		for k, v := range view() {
			if strings.HasPrefix(k, prefix) && k >= from {
				out = append(out, k+"="+v)
			}
		}
		sort.Slice(out, func(i, j int) bool {
			return out[i][:strings.IndexByte(out[i], '=')] < out[j][:strings.IndexByte(out[j], '=')]
		})
		return out
	}
	key := rapid.StringMatching(`[ab]{0,3}[cd]?`)
	value := rapid.StringMatching(`[0-9]{1,3}`)
	t.Repeat(map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			k, v := key.Draw(t, "key"), value.Draw(t, "value")
			s.Put([]byte(k), []byte(v))
			over[k] = &v
		},
		"delete": func(t *rapid.T) {
			k := key.Draw(t, "key")
			s.Delete([]byte(k))
			over[k] = nil
		},
		"commit": func(*rapid.T) {
			s.Commit()
			base, over = view(), map[string]*string{}
		},
		"rollback": func(*rapid.T) {
			s.Rollback()
			over = map[string]*string{}
		},
		"restore": func(t *rapid.T) {
			k := key.Draw(t, "key")
			s.Rollback()
			over = map[string]*string{}
			if rapid.Bool().Draw(t, "gone") {
				s.Restore(k, nil)
				delete(base, k)
				return
			}
			v := value.Draw(t, "value")
			s.Restore(k, []byte(v))
			base[k] = v
		},
		"scan": func(t *rapid.T) {
			prefix := key.Draw(t, "prefix")
			from := ""
			if rapid.Bool().Draw(t, "resume") {
				from = prefix + key.Draw(t, "from")
			}
			if got, want := scan(s, prefix, from), listed(prefix, from); !slices.Equal(got, want) {
				t.Fatalf("scan(%q, %q): %v, want %v", prefix, from, got, want)
			}
		},
		"": func(t *rapid.T) {
			k := key.Draw(t, "key")
			want, ok := view()[k]
			if got := s.Get([]byte(k)); (got != nil) != ok || string(got) != want {
				t.Fatalf("get(%q): %q, want %q %v", k, got, want, ok)
			}
			size := 0
			for k, v := range base {
				size += len(k) + len(v)
			}
			if s.Len() != len(base) || s.Bytes() != size {
				t.Fatalf("%d keys of %d bytes, want %d of %d", s.Len(), s.Bytes(), len(base), size)
			}
			// A fresh store restored from base and changes is the same image.
			replay := open()
			for k, v := range base {
				replay.Restore(k, []byte(v))
			}
			if replay.Hash() != s.Hash() {
				t.Fatalf("hash differs from that of the restored image")
			}
			tombstones := map[string]bool{}
			s.Changes(func(k, v []byte) {
				replay.Restore(string(k), bytes.Clone(v))
				tombstones[string(k)] = v == nil
			})
			if got, want := scan(replay, "", ""), listed("", ""); !slices.Equal(got, want) {
				t.Fatalf("base and changes give %v, want %v", got, want)
			}
			for k, gone := range tombstones {
				if _, known := base[k]; gone && !known {
					t.Fatalf("tombstone for %q, which was never committed", k)
				}
			}
		},
	})
}

func BenchmarkGetPut(b *testing.B) {
	s := New()
	keys := make([][]byte, 100_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "row/%08d", i)
		s.Put(keys[i], keys[i])
	}
	s.Commit()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := keys[i*7919%len(keys)]
		_ = s.Get(k)
		s.Put(k, k)
		if i%1000 == 0 {
			s.Commit()
		}
	}
}
