package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"syncline/benchmarks/workload"
	"syncline/pipelines/cli"
	"syncline/schemas/registry"
)

// heldBack is a producer that keeps one topic's records.
type heldBack struct {
	workload.Producer
	topic string
	held  []workload.Record
}

func (h *heldBack) Produce(ctx context.Context, r workload.Record) error {
	if r.Topic == h.topic {
		h.held = append(h.held, r)
		return nil
	}
	return h.Producer.Produce(ctx, r)
}

// asked is a command's answer in JSON.
func asked[T any](w *world, args ...string) (result T) {
	w.t.Helper()
	out, errs, exit := w.command(append(args, "-o", "json")...)
	answer := struct{ Result *T }{&result}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || exit != 0 {
		w.t.Fatalf("%v: exit %d, %v\n%s%s", args, exit, err, out, errs)
	}
	return result
}

// act is the answer of a command that acts.
type act struct {
	Plan         string
	Applied      bool
	Instructions []string
}

// carryOut has a command's plan shown, checks that nothing is done by that, and
// has it done.
func (w *world) carryOut(args ...string) act {
	w.t.Helper()
	shown := asked[act](w, args...)
	if shown.Applied || shown.Plan == "" || len(shown.Instructions) > 0 {
		w.t.Fatalf("%v: %+v", args, shown)
	}
	if _, errs, exit := w.command(append(args, "--apply", "0a1b2c3d4e5f", "--why", "x")...); exit != 2 || !strings.Contains(errs, shown.Plan) {
		w.t.Errorf("%v with another plan's hash: exit %d\n%s", args, exit, errs)
	}
	done := asked[act](w, append(args, "--apply", shown.Plan, "--why", "the schema is there")...)
	if !done.Applied || done.Plan != shown.Plan || len(done.Instructions) != 1 {
		w.t.Fatalf("%v: %+v", args, done)
	}
	return done
}

// states are how many letters there are of each state.
func (w *world) states() string {
	w.t.Helper()
	var told []string
	for _, r := range asked[[]map[string]string](w, "query", "SELECT state, count() AS n FROM letters GROUP BY state ORDER BY state") {
		told = append(told, r["state"]+" "+r["n"])
	}
	return strings.Join(told, ", ")
}

func (w *world) awaitStates(want string) {
	w.t.Helper()
	got := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if got = w.states(); got == want {
			return
		}
	}
	w.t.Fatalf("letters: %s, want %s", got, want)
}

// obeyed is how often a task says that it has read records again.
func (p *pipelines) obeyed() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.errs.String()) {
		if strings.Contains(line, "instruction obeyed") && (strings.Contains(line, "kind=letters.redrive") || strings.Contains(line, "kind=replay")) {
			n++
		}
	}
	return n
}

// TestLettersAreWorked: a table whose schema nobody knows becomes letters; the
// schema comes, and a person has them read again. What is broken for good is
// discarded. All of it stays on record, and replaying it all changes nothing.
func TestLettersAreWorked(t *testing.T) {
	t.Setenv("SYNCLINE_UNKNOWN_SCHEMA_WAIT", "1s")
	t.Setenv("SYNCLINE_LOG_LEVEL", "info")
	w := newWorld(t, "tryton")
	rec, err := workload.Open(recordings + "debezium-tryton")
	if err != nil {
		t.Fatal(err)
	}
	to := &heldBack{Producer: w.producer(0), topic: "cdc.erp.public.account_invoice"}
	if _, err := rec.Load(t.Context(), w.registry(), to, workload.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	p := w.start()
	p.settle()

	// The next id that the registry will give; nobody has it yet.
	probe, err := w.registry().Register(t.Context(), "probe", `{"type":"record","name":"Probe","fields":[]}`)
	if err != nil {
		t.Fatal(err)
	}
	unknown, known := probe+1, 0
	changes := 0
	for _, r := range to.held {
		if r.Value != nil {
			id, payload, err := registry.Unframe(r.Value)
			if err != nil || known != 0 && id != known {
				t.Fatalf("schema id %d after %d, %v", id, known, err)
			}
			known, r.Value = id, registry.Frame(unknown, payload)
			changes++
		}
		if err := to.Producer.Produce(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	last := to.held[len(to.held)-1]
	torn := workload.Record{Topic: last.Topic, Partition: last.Partition, Timestamp: last.Timestamp, Key: []byte("torn"), Value: []byte("torn")}
	if err := to.Producer.Produce(t.Context(), torn); err != nil {
		t.Fatal(err)
	}
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.awaitStates(fmt.Sprintf("open %d", changes+1))

	// Two causes, told with what they cost.
	causes := asked[[]map[string]string](w, "letters", "list")
	if len(causes) != 2 || causes[0]["reason"] != "record.unknown_schema" || causes[0]["letters"] != fmt.Sprint(changes) || !strings.Contains(causes[0]["example"], fmt.Sprint(unknown)) || causes[1]["reason"] != "record.frame" {
		t.Fatalf("causes: %v", causes)
	}
	shown := asked[[]map[string]string](w, "letters", "show", causes[0]["cause"], "--limit", "1000")
	if len(shown) != changes || shown[0]["row_id"] == "" || shown[0]["entity"] != "invoice" || shown[0]["system"] != "erp" || shown[0]["attempts"] != "1" || shown[0]["document_id"] == "" {
		t.Errorf("%d letters, the first %v", len(shown), shown[0])
	}
	if one := asked[[]map[string]string](w, "letters", "show", shown[0]["place"]); len(one) != 1 || one[0]["place"] != shown[0]["place"] {
		t.Errorf("one letter: %v", one)
	}
	d, _ := w.doctor()
	d.finds(t, "warning", "letters record.unknown_schema", last.Topic, "syncline letters redrive "+causes[0]["cause"])

	// Read again too early they stay, with an attempt more.
	w.carryOut("letters", "redrive", shown[0]["place"])
	for deadline := time.Now().Add(time.Minute); ; {
		if one := asked[[]map[string]string](w, "letters", "show", shown[0]["place"]); one[0]["attempts"] == "2" && one[0]["state"] == "open" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("read again: %v", one)
		}
	}

	// The schema comes.
	text, err := w.registry().SchemaByID(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := w.registry().Register(t.Context(), "later-value", `{"doc":"as its connector knows it",`+strings.TrimPrefix(strings.TrimSpace(text), "{")); err != nil || id != unknown {
		t.Fatalf("id %d, want %d, %v", id, unknown, err)
	}
	redriven := w.carryOut("letters", "redrive", causes[0]["cause"])
	w.awaitStates(fmt.Sprintf("open 1, redriven %d", changes))
	w.carryOut("letters", "discard", "--topic", last.Topic)
	w.awaitStates(fmt.Sprintf("discarded 1, redriven %d", changes))
	p.settle()
	expected := w.expectRecorded("debezium-tryton")
	w.check(expected, "feed_health") // it has received the torn record besides
	for _, f := range asked[[]map[string]string](w, "query", "SELECT letters, unplaced FROM feed_health WHERE topic = '"+last.Topic+"'") {
		if f["letters"] != "0" || f["unplaced"] != "0" {
			t.Errorf("feed_health: %v", f)
		}
	}
	if _, errs, exit := w.command("letters", "redrive", causes[0]["cause"], "--apply", redriven.Plan); exit != 2 || !strings.Contains(errs, "no open letter of") {
		t.Errorf("the same plan once more: exit %d\n%s", exit, errs)
	}

	// A replay of what is right publishes nothing.
	before := w.canonicalRecords()
	w.carryOut("replay", last.Topic)
	w.carryOut("replay", "cdc.crm.public.party_party")
	p.wait("all partitions to have read again", time.Minute, func(cli.Progress) bool { return p.obeyed() >= 4*workload.Partitions })
	p.settle()
	if after := w.canonicalRecords(); after != before {
		t.Errorf("%d canonical records after a replay, %d before", after, before)
	}
	w.check(expected, "feed_health")

	var kinds []string
	for _, i := range asked[[]map[string]string](w, "instructions", "list") {
		if i["who"] != "" && i["why"] == "the schema is there" && i["plan"] != "" && i["reach"] != "" {
			kinds = append(kinds, i["kind"])
		}
	}
	if got := strings.Join(kinds, " "); got != "replay replay letters.discard letters.redrive letters.redrive" {
		t.Errorf("instructions: %s", got)
	}
	p.term()
}
