package pipelines_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syncline/pipelines"
	"syncline/pipelines/run"
	"syncline/processors/letters"
)

// unread are letters of records whose schema nobody knew, as places; then it is
// known.
func unread(t *testing.T, seed int) (w *world, deals *wire, places []pipelines.LetterPlace) {
	t.Helper()
	w, deals, _ = sales(t, asItIs, dealColumns())
	w.driver.Aborts, w.driver.Crashes = 0.3, 0.2
	deals.tell(t, "c", deal(1, "value", 100.0))
	deals.tell(t, "c", deal(2, "value", 200.0))
	w.run(t)
	deals.reshape(t, and(dealColumns(), "colour", `"string"`))
	unknown := deals.valueID
	w.schemas.hide[unknown] = true
	deals.tell(t, "u", deal(1, "value", 101.0))
	deals.tell(t, "u", deal(2, "value", 201.0))
	deals.tell(t, "c", deal(3, "value", 300.0))
	w.run(t)
	for _, l := range w.rows(t)["letter"] {
		if l["state"] != letters.Open || l["fingerprint"] == "" || l["attempts"] != "1" || l["entity"] != "opportunity" || l["system"] != "crm" || l["value"] == "null" {
			t.Fatalf("seed %d: a letter is %v", seed, l)
		}
		p := pipelines.LetterPlace{Topic: l["topic"], Row: l["row_id"]}
		partition, _ := strconv.Atoi(l["partition"])
		p.Partition = int32(partition) //nolint:gosec // a partition
		p.Offset, _ = strconv.ParseInt(l["offset"], 10, 64)
		places = append(places, p)
	}
	if len(places) != 3 {
		t.Fatalf("%d letters, want 3", len(places))
	}
	if n := len(causes(w, t)); n != 1 {
		t.Errorf("%d causes, want 1", n)
	}
	delete(w.schemas.hide, unknown)
	return w, deals, places
}

func causes(w *world, t *testing.T) []string {
	var all []string
	for _, l := range w.rows(t)["letter"] {
		all = append(all, l["fingerprint"])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (w *world) instruct(t *testing.T, all []run.Instruction, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for n := range all {
		all[n].ID, all[n].Who, all[n].Why = fmt.Sprintf("i%d-%d", len(w.driver.Log(dealsTopic)), n), "ada", "the schema is there"
		w.driver.Instruct(&all[n])
	}
	w.run(t)
}

func (w *world) states(t *testing.T) string {
	t.Helper()
	n := map[string]int{}
	for _, l := range w.rows(t)["letter"] {
		if l["state"] != letters.Open && (l["healed"] != "true" || l["value"] != "null") {
			t.Errorf("a settled letter is %v", l)
		}
		if l["state"] == letters.Redriven || l["state"] == letters.Discarded {
			if l["who"] != "ada" || l["why"] != "the schema is there" || l["instruction"] == "null" {
				t.Errorf("nobody is said to have settled %v", l)
			}
		}
		n[l["state"]]++
	}
	return fmt.Sprintf("open %d healed %d redriven %d discarded %d", n[letters.Open], n[letters.Healed], n[letters.Redriven], n[letters.Discarded])
}

// feed is what is counted of the deals' feed.
func (w *world) feed(t *testing.T) string {
	t.Helper()
	for _, f := range w.rows(t)["feed"] {
		if strings.Contains(f["topic"], "deals") {
			return fmt.Sprintf("received %s repeated %s stale %s letters %s healed %s", f["received"], f["repeated"], f["stale"], f["letters"], f["healed"])
		}
	}
	return "no feed"
}

func TestRedrive(t *testing.T) {
	w, deals, places := unread(t, 0)
	// One row has gone on since: what is read again must not put it back.
	deals.tell(t, "u", deal(2, "value", 250.0))
	w.run(t)
	if got := w.states(t); got != "open 2 healed 1 redriven 0 discarded 0" {
		t.Fatal(got)
	}
	before := w.feed(t)
	all, err := pipelines.Redrive(places)
	w.instruct(t, all, err)
	if got := w.amounts(t); got != "1=101 2=250 3=300" {
		t.Errorf("%s", got)
	}
	if got := w.states(t); got != "open 0 healed 1 redriven 2 discarded 0" {
		t.Errorf("%s", got)
	}
	want := strings.Replace(before, "healed 1", "healed 3", 1)
	if got := w.feed(t); got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

// What still cannot be taken stays open, and says how often it was tried.
func TestRedriveInVain(t *testing.T) {
	w, _, places := unread(t, 0)
	for id := range w.schemas.texts {
		w.schemas.hide[id+1] = true
	}
	w.driver.Aborts, w.driver.Crashes = 0, 1 // no task remembers a schema
	w.run(t)
	all, err := pipelines.Redrive(places)
	w.instruct(t, all, err)
	w.schemas.hide = map[int]bool{}
	if got := w.states(t); got != "open 3 healed 0 redriven 0 discarded 0" {
		t.Errorf("%s", got)
	}
	for _, l := range w.rows(t)["letter"] {
		if l["attempts"] != "2" {
			t.Errorf("%s attempts: %v", l["attempts"], l)
		}
	}
	if got := w.feed(t); !strings.Contains(got, "letters 3 healed 0") {
		t.Errorf("%s", got)
	}
	w.driver.Crashes = 0
	all, err = pipelines.Redrive(places)
	for n := range all {
		all[n].Why = "again"
	}
	w.instruct(t, all, err)
	if got := w.amounts(t); got != "1=101 2=201 3=300" {
		t.Errorf("%s", got)
	}
}

func TestDiscard(t *testing.T) {
	w, _, places := unread(t, 0)
	all, err := pipelines.Discard(places[:2])
	w.instruct(t, all, err)
	if got := w.states(t); got != "open 1 healed 0 redriven 0 discarded 2" {
		t.Errorf("%s", got)
	}
	if got := w.feed(t); !strings.Contains(got, "letters 3 healed 2") {
		t.Errorf("%s", got)
	}
	all, err = pipelines.Discard(places) // two of them are settled already
	w.instruct(t, all, err)
	if got := w.states(t); got != "open 0 healed 0 redriven 0 discarded 3" {
		t.Errorf("%s", got)
	}
}

// Reading a whole feed again changes nothing that is right: no record is
// published, nothing is counted twice.
func TestReplayChangesNothing(t *testing.T) {
	w := newWorld(t, "catalog/tryton.yaml", 1)
	w.load(t, "../benchmarks/workload/recorded/debezium-tryton-2")
	w.run(t)
	canonical, counts := w.canonical(t), fmt.Sprint(w.rows(t)["feed"])
	published := func() (n int) {
		for _, topic := range w.spine.Delivered {
			if strings.HasPrefix(topic, "canonical.") {
				for _, p := range w.driver.Log(topic) {
					n += len(p)
				}
			}
		}
		return n
	}
	before := published()
	w.driver.Aborts, w.driver.Crashes = 0.2, 0.1
	replayed := 0
	for _, topic := range w.spine.Hops[0].Inputs {
		ranges := map[int32][2]int64{}
		for p, log := range w.driver.Log(topic) {
			if len(log) > 0 {
				ranges[int32(p)] = [2]int64{0, int64(len(log))} //nolint:gosec // a partition
				replayed += len(log)
			}
		}
		if len(ranges) == 0 {
			continue
		}
		i, err := pipelines.Replay(topic, ranges)
		if err != nil {
			t.Fatal(err)
		}
		i.ID = "replay " + topic
		w.driver.Instruct(&i)
	}
	w.run(t)
	if replayed < 1000 {
		t.Fatalf("only %d records were read again", replayed)
	}
	if d := differences(canonical, w.canonical(t)); len(d) > 0 {
		t.Errorf("%d entities differ:\n%s", len(d), d[0])
	}
	if after := published(); after != before {
		t.Errorf("%d records are published, %d before", after, before)
	}
	if got := fmt.Sprint(w.rows(t)["feed"]); got != counts {
		t.Errorf("counted\n%s\nbefore\n%s", got, counts)
	}
}

// A feed of which too much becomes letters stops, with the reason; once the cause
// is mended it goes on.
func TestTooManyLettersStopAFeed(t *testing.T) {
	w, deals, _ := salesWithin(t, letters.Limit{Count: 20, Percent: 20})
	deals.tell(t, "c", deal(1, "value", 100.0))
	w.run(t)
	deals.reshape(t, and(dealColumns(), "colour", `"string"`))
	w.schemas.hide[deals.valueID] = true
	for range 50 {
		deals.tell(t, "u", deal(1, "value", 101.0))
	}
	err := w.driver.Run()
	if err == nil || !strings.Contains(err.Error(), "of the last") || !strings.Contains(err.Error(), "syncline letters list --topic "+dealsTopic) || !strings.Contains(err.Error(), "syncline feeds skip "+dealsTopic) {
		t.Fatalf("it goes on: %v", err)
	}
	if n := len(w.rows(t)["letter"]); n != 20 {
		t.Errorf("%d letters, want 20", n)
	}
	delete(w.schemas.hide, deals.valueID)
	w.driver.Restart()
	w.run(t)
	if got := w.amounts(t); got != "1=101" {
		t.Errorf("%s", got)
	}
	if got := w.states(t); got != "open 0 healed 20 redriven 0 discarded 0" {
		t.Errorf("%s", got)
	}
	// What it has stopped for does not count again: one letter more is one letter.
	deals.tell(t, "u", deal(1, "value", 102.0))
	if err := w.driver.Feed(dealsTopic, partitionOf("1/"), []byte("torn"), []byte("torn"), 1); err != nil {
		t.Fatal(err)
	}
	deals.tell(t, "u", deal(1, "value", 103.0))
	w.run(t)
	if got := w.amounts(t); got != "1=103" {
		t.Errorf("%s", got)
	}
}

func TestInstructionsOfLettersAreBounded(t *testing.T) {
	var places []pipelines.LetterPlace
	for n := range 12_000 {
		places = append(places, pipelines.LetterPlace{Topic: []string{"b", "a"}[n%2], Partition: int32(n % 3), Offset: int64(n)}) //nolint:gosec // small
	}
	all, err := pipelines.Redrive(places)
	if err != nil || len(all) != 4 {
		t.Fatalf("%d instructions, %v", len(all), err)
	}
	for _, i := range all {
		if len(i.Body) > 1<<20 || i.Hop != pipelines.Intake || i.Kind != run.KindRedrive {
			t.Errorf("%s: %d bytes", i.Topic, len(i.Body))
		}
	}
	for _, r := range []map[int32][2]int64{nil, {0: {5, 5}}, {0: {-1, 5}}} {
		if _, err := pipelines.Replay("a", r); err == nil {
			t.Errorf("%v is a range", r)
		}
	}
}
