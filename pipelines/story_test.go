package pipelines_test

import (
	"bufio"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
)

var (
	updateStories = flag.Bool("update", false, "rewrite what the stories expect; read it afterwards")
	storySeeds    = flag.Int("story.seeds", 12, "random interleavings of each story")
	storySeed     = flag.Uint64("story.seed", 1, "first seed of the random interleavings")
)

// A story is a text file: changes in, rows out.
//
//	# words
//	order: fixed                      only in the order told (default: any)
//	epoch crm 1 10:00:30              the catalog's note of a restore
//	catalog crm placeholder: none     a line more in the catalog, of a system …
//	catalog erp.party_party prefix: x … or of a table
//	erp.account_invoice c id=34 party=55 state=posted @lsn=7 @t=5
//	rewind 3                          the last 3 records of every topic again
//	rewind erp.account_invoice 3      … of one topic
//	hide erp.account_invoice          the registry does not know its schema yet
//	show erp.account_invoice          now it does
//	bad erp.account_invoice truncated a spoiled record (truncated, poison, oversized, shape, key, nameless, flat, mysql, heartbeat)
//	run                               to rest (order: fixed only)
//	apply                             to rest, then what sweeps are held is allowed
//	----
//	account name=Acme crm_id=5        all live rows of each entity that is named
//	payment none                      none
//
// Operations: c u d r m as in Debezium, truncate, t a tombstone. A change can be
// told @lsn=null (without a position), @key=none, @before=none and @snapshot=last
// (or another of Debezium's words). Columns that are not told
// are NULL or zero; a delete's before image holds its key and zeros. A time is
// told as t seconds after 10:00; without one each change is a second later than
// the last, and so with the LSN.
type story struct {
	name   string
	fixed  bool
	steps  []step
	wants  []want
	epochs []string
	extras [][]string // system or table, then the line
	head   string     // the text above the expectations
}

type step struct {
	line  int
	words []string
}

type want struct {
	line   int
	entity string
	none   bool
	cells  map[string]string
	order  []string
}

func readStory(t *testing.T, path string) *story {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // testdata
	if err != nil {
		t.Fatal(err)
	}
	s := &story{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	head, _, found := strings.Cut(string(text), "\n----\n")
	if !found {
		t.Fatalf("%s: no line ----", path)
	}
	s.head = head
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	below := false
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := splitWords(line)
		switch {
		case line == "----":
			below = true
		case below:
			w := want{line: n, entity: words[0], cells: map[string]string{}}
			for _, word := range words[1:] {
				if word == "none" {
					w.none = true
					continue
				}
				k, v, _ := strings.Cut(word, "=")
				w.cells[k] = v
				w.order = append(w.order, k)
			}
			s.wants = append(s.wants, w)
		case words[0] == "order:":
			s.fixed = words[1] == "fixed"
		case words[0] == "epoch":
			s.epochs = append(s.epochs, line)
		case words[0] == "catalog":
			s.extras = append(s.extras, words[1:])
		default:
			s.steps = append(s.steps, step{n, words})
		}
	}
	return s
}

// splitWords splits at blanks outside of double quotes and drops the quotes.
func splitWords(line string) []string {
	var words []string
	var b strings.Builder
	quoted := false
	for _, r := range line + " " {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			if b.Len() > 0 {
				words = append(words, b.String())
				b.Reset()
			}
		default:
			b.WriteRune(r)
		}
	}
	return words
}

// telling is one way of running a story.
type telling struct {
	seed   uint64
	poll   int
	single bool // to rest after every record
	chaos  bool // aborts and crashes
}

func (s *story) tell(t *testing.T, how telling) *world {
	t.Helper()
	c, err := catalog.Parse("tryton.yaml", s.catalog(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{schemas: &memorySchemas{hide: map[int]bool{}}}
	w.spine, err = pipelines.Build(t.Context(), pipelines.Config{Catalog: c, Schemas: w.schemas})
	if err != nil {
		t.Fatal(err)
	}
	w.driver = run.NewDriver(w.spine.Hops, 4, how.seed)
	w.driver.Encode = w.spine.Letters.Encode
	w.takeInstructions()
	w.driver.Poll = how.poll
	if how.chaos {
		w.driver.Aborts, w.driver.Crashes = 0.25, 0.1
	}
	teller := newTeller(t, w)
	for _, step := range s.steps {
		switch step.words[0] {
		case "run":
			w.run(t)
			continue
		case "apply":
			w.run(t)
			for _, h := range pipelines.Held(w.driver.Said()) {
				i := h.Apply()
				w.driver.Instruct(&i)
			}
			continue
		}
		if err := teller.do(step.words); err != nil {
			t.Fatalf("%s:%d: %v", s.name, step.line, err)
		}
		if how.single {
			w.run(t)
		}
	}
	if err := w.rest(t.Context()); err != nil && !slices.ContainsFunc(s.wants, func(w want) bool { return w.entity == "stopped" }) {
		t.Fatal(err)
	} else if err != nil {
		teller.stopped = err.Error()
	}
	w.stopped = teller.stopped
	return w
}

// catalog is the Tryton catalog with what the story adds.
func (s *story) catalog(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("catalog/tryton.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for _, e := range s.epochs {
		words := strings.Fields(e)
		note := fmt.Sprintf("    role: %s\n    epochs: [{epoch: %s, since: %s}]\n", words[1], words[2], "2026-11-22T"+words[3]+"Z")
		out = strings.Replace(out, "    role: "+words[1]+"\n", note, 1)
	}
	for _, e := range s.extras {
		of, line := "    role: "+e[0]+"\n", strings.Join(e[1:], " ")
		if system, table, ok := strings.Cut(e[0], "."); ok {
			of = "  - topic: cdc." + system + ".public." + table + "\n"
		}
		if !strings.Contains(out, of) {
			t.Fatalf("%s: the catalog has no %s", s.name, e[0])
		}
		out = strings.Replace(out, of, of+"    "+line+"\n", 1)
	}
	return []byte(out)
}

func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	for _, file := range files {
		s := readStory(t, file)
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			ways := []telling{{poll: 1000}, {poll: 1000, single: true}}
			if s.fixed {
				ways = []telling{{poll: 1000}}
			} else {
				for i := range *storySeeds {
					ways = append(ways, telling{seed: *storySeed + uint64(i), poll: 1 + i%5, chaos: true}) //nolint:gosec // a small count
				}
			}
			for _, how := range ways {
				w := s.tell(t, how)
				if *updateStories {
					s.rewrite(t, file, w)
					return
				}
				if bad := s.compare(t, w); len(bad) > 0 {
					t.Fatalf("told as %+v:\n%s", how, strings.Join(bad, "\n"))
				}
			}
		})
	}
}

// compare finds what is not as the story wants it: of every entity that it
// names, exactly the rows it lists, in the columns it lists.
func (s *story) compare(t *testing.T, w *world) []string {
	t.Helper()
	rows := w.rows(t)
	var bad []string
	matched := map[string]int{}
	used := map[string]bool{}
	for _, want := range s.wants {
		if want.none {
			continue
		}
		found := false
		for i, row := range rows[want.entity] {
			id := want.entity + strconv.Itoa(i)
			if used[id] || !row.has(want.cells) {
				continue
			}
			used[id], found = true, true
			matched[want.entity]++
			break
		}
		if !found {
			bad = append(bad, fmt.Sprintf("%s.txt:%d: no %s with %v; there are:\n  %s", s.name, want.line, want.entity, want.cells, strings.Join(rows.show(want.entity, want.order), "\n  ")))
		}
	}
	for _, want := range s.wants {
		if n := len(rows[want.entity]); n != matched[want.entity] {
			bad = append(bad, fmt.Sprintf("%s.txt: %d rows of %s, the story lists %d:\n  %s", s.name, n, want.entity, matched[want.entity], strings.Join(rows.show(want.entity, want.order), "\n  ")))
			break
		}
	}
	return bad
}

// rewrite replaces the expectations, keeping which entities and columns are told.
func (s *story) rewrite(t *testing.T, file string, w *world) {
	t.Helper()
	rows := w.rows(t)
	out := []string{s.head, "----"}
	done := map[string]bool{}
	for _, want := range s.wants {
		if done[want.entity] {
			continue
		}
		done[want.entity] = true
		var columns []string
		for _, other := range s.wants {
			for _, c := range other.order {
				if other.entity == want.entity && !slices.Contains(columns, c) {
					columns = append(columns, c)
				}
			}
		}
		if len(rows[want.entity]) == 0 {
			out = append(out, want.entity+" none")
		}
		out = append(out, rows.show(want.entity, columns)...)
	}
	if err := os.WriteFile(file, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil { //nolint:gosec // testdata
		t.Fatal(err)
	}
}

func partitionOf(id string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int32(h.Sum32() % 4) //nolint:gosec // below 4
}
