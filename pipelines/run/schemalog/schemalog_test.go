package schemalog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"syncline/pipelines/run/schemalog"
)

func broker(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func open(t *testing.T, c *kfake.Cluster) *schemalog.Log {
	t.Helper()
	l, err := schemalog.Open(t.Context(), schemalog.Config{Seeds: c.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func appendAll(t *testing.T, l *schemalog.Log, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if err := l.Append(t.Context(), []byte(k), []byte("value of "+k)); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, l *schemalog.Log, from int64) ([]string, int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := []string{}
	next, err := l.Read(ctx, from, func(key, value []byte) error {
		got = append(got, string(key)+"="+string(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, next
}

func TestReadGivesWhatWasAppended(t *testing.T) {
	l := open(t, broker(t))
	if got, next := read(t, l, 0); len(got) != 0 || next != 1 {
		t.Fatalf("an empty log has %v, next %d", got, next)
	}
	appendAll(t, l, "a", "b")
	got, next := read(t, l, 0)
	if diff := cmp.Diff([]string{"a=value of a", "b=value of b"}, got); diff != "" || next != 3 {
		t.Fatalf("next %d, (-want +got):\n%s", next, diff)
	}
	appendAll(t, l, "c")
	got, next = read(t, l, next)
	if diff := cmp.Diff([]string{"c=value of c"}, got); diff != "" || next != 4 {
		t.Fatalf("next %d, (-want +got):\n%s", next, diff)
	}
	if got, next = read(t, l, 4); len(got) != 0 || next != 4 {
		t.Fatalf("behind the end there are %v, next %d", got, next)
	}
	// Back to the start, and to the middle.
	if got, next = read(t, l, 0); len(got) != 3 || next != 4 {
		t.Fatalf("again from the start: %v, next %d", got, next)
	}
	if got, next = read(t, l, 2); len(got) != 2 || next != 4 {
		t.Fatalf("from 1: %v, next %d", got, next)
	}
}

func TestReadEndsWhereTheCallerStops(t *testing.T) {
	l := open(t, broker(t))
	appendAll(t, l, "a", "b", "c")
	errStop := errors.New("stop")
	next, err := l.Read(t.Context(), 0, func(key, _ []byte) error {
		if string(key) == "b" {
			return errStop
		}
		return nil
	})
	if !errors.Is(err, errStop) || next != 2 {
		t.Fatalf("next %d, error %v", next, err)
	}
	if got, _ := read(t, l, next); len(got) != 2 {
		t.Fatalf("going on gives %v", got)
	}
}

func TestLogSurvivesBrokerRestart(t *testing.T) {
	dir := t.TempDir()
	first := broker(t, kfake.DataDir(dir))
	l := open(t, first)
	appendAll(t, l, "a", "b")
	l.Close()
	first.Close()

	l = open(t, broker(t, kfake.DataDir(dir)))
	appendAll(t, l, "c")
	got, next := read(t, l, 0)
	if diff := cmp.Diff([]string{"a=value of a", "b=value of b", "c=value of c"}, got); diff != "" || next != 4 {
		t.Fatalf("next %d, (-want +got):\n%s", next, diff)
	}
}

func TestReadAfterCompaction(t *testing.T) {
	c := broker(t)
	l := open(t, c)
	appendAll(t, l, "level", "a", "level", "b")
	c.Compact()
	got, next := read(t, open(t, c), 0)
	if diff := cmp.Diff([]string{"a=value of a", "level=value of level", "b=value of b"}, got); diff != "" || next != 5 {
		t.Fatalf("next %d, (-want +got):\n%s", next, diff)
	}
}

func TestLostRecordsAreAnError(t *testing.T) {
	for name, lose := range map[string]func(*kfake.Cluster) error{
		"beginning deleted": func(c *kfake.Cluster) error { return c.DeleteRecords("_schemas", 0, 2) },
		"topic made anew": func(c *kfake.Cluster) error {
			if err := c.DeleteTopic("_schemas"); err != nil {
				return err
			}
			return c.CreateTopic("_schemas", 1, map[string]string{"cleanup.policy": "compact"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := broker(t)
			l := open(t, c)
			appendAll(t, l, "a", "b", "c")
			if err := lose(c); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			from := int64(0)
			if name == "topic made anew" {
				from = 4
			}
			_, err := l.Read(ctx, from, func(key, _ []byte) error {
				return fmt.Errorf("a record came: %s", key)
			})
			if err == nil || errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "a record came") {
				t.Fatalf("error %v", err)
			}
		})
	}
}

func TestOpenRefusesUnfitTopics(t *testing.T) {
	for name, c := range map[string]struct {
		partitions int32
		config     map[string]string
		says       string
	}{
		"partitions": {2, map[string]string{"cleanup.policy": "compact"}, "2 partitions"},
		"deleting":   {1, map[string]string{"cleanup.policy": "compact,delete"}, "cleanup.policy"},
		"default":    {1, nil, "cleanup.policy"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := broker(t)
			if err := cluster.CreateTopic("_schemas", c.partitions, c.config); err != nil {
				t.Fatal(err)
			}
			l, err := schemalog.Open(t.Context(), schemalog.Config{Seeds: cluster.ListenAddrs()})
			if err == nil {
				l.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

func TestCreatedTopic(t *testing.T) {
	c := broker(t)
	open(t, c)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	configs, err := kadm.NewClient(client).DescribeTopicConfigs(t.Context(), "_schemas")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, kv := range configs[0].Configs {
		if kv.Key == "cleanup.policy" || strings.HasPrefix(kv.Key, "retention.") {
			got[kv.Key] = kv.MaybeValue()
		}
	}
	want := map[string]string{"cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestFailuresAreErrorsAndPass(t *testing.T) {
	c := broker(t)
	l := open(t, c)
	appendAll(t, l, "a")
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed})
	if err := l.Append(t.Context(), []byte("b"), []byte("v")); err == nil {
		t.Fatal("an append that the broker refused gave no error")
	}
	appendAll(t, l, "c")
	if got, _ := read(t, l, 0); len(got) != 2 {
		t.Fatalf("after a refused append: %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Read(ctx, 0, func([]byte, []byte) error { return nil }); err == nil {
		t.Fatal("a read in an ended context gave no error")
	}
	if err := l.Append(ctx, []byte("d"), []byte("v")); err == nil {
		t.Fatal("an append in an ended context gave no error")
	}
	if got, _ := read(t, l, 0); len(got) != 2 {
		t.Fatalf("after failures: %v", got)
	}
}

// TestAppendGivesUpInTime: a broker that takes the record and never answers
// must not hang the registry.
func TestAppendGivesUpInTime(t *testing.T) {
	c := broker(t)
	l := open(t, c)
	appendAll(t, l, "a")
	silent := make(chan struct{})
	t.Cleanup(func() { close(silent) })
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() { <-silent })
		return nil, nil, false
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := l.Append(ctx, []byte("b"), []byte("v")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
}

// In a cluster that has just made the topic, not every broker knows it yet.
func TestTopicThatIsNewIsWaitedFor(t *testing.T) {
	c := broker(t)
	unknown := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "_schemas", Err: kerr.UnknownTopicOrPartition, Count: 3})
	appendAll(t, open(t, c), "a")
	if unknown.Hits() == 0 {
		t.Error("the topic was never unknown, so the test shows nothing")
	}
}
