package run

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// StartOver takes what is derived and the prefix's groups, and nothing else; and it
// touches nothing where the sources could not give it back.
func TestStartOver(t *testing.T) {
	ctx := t.Context()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	admin := kadm.NewClient(cl)
	topics := []string{"cdc.a", "cdc.b", "p.rows", "p.intake.changelog", "p.instructions", "px.rows", "_schemas"}
	if _, err := admin.CreateTopics(ctx, 2, 1, nil, topics...); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		for _, topic := range topics {
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte{byte(i)}}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var at kadm.Offsets
	at.Add(kadm.Offset{Topic: "cdc.a", At: 1, LeaderEpoch: -1})
	for _, group := range []string{"p.intake", "p.clickhouse", "px.intake", "mine"} {
		if err := admin.CommitAllOffsets(ctx, group, at); err != nil {
			t.Fatal(err)
		}
	}
	state := func() string {
		t.Helper()
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...)) // the other one remembers topics for a while
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		admin := kadm.NewClient(cl)
		all, err := admin.ListTopics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		groups, err := admin.ListGroups(ctx)
		if err != nil {
			t.Fatal(err)
		}
		names := append(all.Names(), groups.Groups()...)
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	derived := func(topic string) bool { return strings.HasPrefix(topic, "p.") && topic != "p.instructions" }
	cfg := Config{Brokers: c.ListenAddrs(), Prefix: "p"}

	var below kadm.Offsets
	below.Add(kadm.Offset{Topic: "cdc.b", Partition: 0, At: 2})
	below.Add(kadm.Offset{Topic: "cdc.b", Partition: 1, At: 2})
	if _, err := admin.DeleteRecords(ctx, below); err != nil {
		t.Fatal(err)
	}
	before := state()
	if _, err := StartOver(ctx, cfg, []string{"cdc.a", "cdc.b"}, derived); !errors.Is(err, ErrNotWhole) || !strings.Contains(err.Error(), "cdc.b") {
		t.Errorf("with a source that has lost its beginning: %v", err)
	}
	if after := state(); after != before {
		t.Errorf("it has changed something: %s, was %s", after, before)
	}

	for _, want := range []int{2, 0} { // and again, when there is nothing left
		gone, err := StartOver(ctx, cfg, []string{"cdc.a", "cdc.absent"}, derived)
		if err != nil || len(gone) != want {
			t.Fatalf("forgot %v, %v", gone, err)
		}
		if after := state(); after != "_schemas cdc.a cdc.b mine p.instructions px.intake px.rows" {
			t.Errorf("left are %s", after)
		}
	}
}
