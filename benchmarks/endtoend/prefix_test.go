package endtoend

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	flows "syncline/pipelines"
)

// TestTwoPrefixesSideBySide: two sets of pipelines on one broker, with a
// database each, read the same sources and do not touch each other.
func TestTwoPrefixesSideBySide(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tryton")
	w.load("debezium-tryton", 0)
	const later = "--sweep-wait=1h" // what follows a snapshot would raise the ends meanwhile
	first := w.start(later)
	first.settle()
	before := w.ends()
	other := []string{"--prefix", "acme", "--database", "acme"}
	second := w.start(append(other, later)...)
	second.settle()
	for topic, end := range w.ends() {
		was, known := before[topic]
		// What is purged or compacted keeps its end; a marker would raise it.
		if known && was != end && !strings.HasPrefix(topic, "__") && topic != "_schemas" && topic != w.names.Processes {
			t.Errorf("%s: %d records and markers before the second set ran, %d after", topic, was, end)
		}
		if !known && !strings.HasPrefix(topic, "acme.") {
			t.Errorf("the second set has made %s", topic)
		}
	}
	for _, group := range w.groups() {
		if !strings.HasPrefix(group, "syncline.") && !strings.HasPrefix(group, "acme.") {
			t.Errorf("group %s has neither prefix", group)
		}
	}
	first.term()
	second.term()
	for name, args := range map[string][]string{"default": nil, "acme": other} {
		if out, errs, exit := w.command(append([]string{"verify", "--recording", "debezium-tryton"}, args...)...); exit != 0 {
			t.Errorf("%s: exit %d\n%s%s", name, exit, out, errs)
		}
	}
	expected := w.expectRecorded("debezium-tryton")
	w.check(expected)
	var err error
	if w.names, err = flows.NamesOf("acme"); err != nil {
		t.Fatal(err)
	}
	w.database = "acme"
	w.check(expected)

	// One database for both would add them up.
	out, errs, exit := w.command("run", "--prefix", "acme", "--parts", "sink")
	if exit == 0 || !strings.Contains(out+errs, "database of its own") {
		t.Errorf("a sink into the other prefix's database: exit %d\n%s%s", exit, out, errs)
	}
}

// ends are the sums of the partitions' ends, by topic.
func (w *world) ends() map[string]int64 {
	w.t.Helper()
	ends, err := w.kafkaAdmin().ListEndOffsets(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	sums := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) { sums[o.Topic] += o.Offset })
	return sums
}

func (w *world) groups() []string {
	w.t.Helper()
	groups, err := w.kafkaAdmin().ListGroups(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(groups))
}

func (w *world) kafkaAdmin() *kadm.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.p.Brokers()...), kgo.RequestRetries(3), kgo.RetryTimeout(10*time.Second))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}
