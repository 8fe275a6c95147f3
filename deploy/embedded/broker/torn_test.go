package broker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// copied gives the broker's folder as a kill of its process would leave it: all
// that it has handed to the system, and nothing of what it does at its end.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestUncleanEndsLoseNothing ends a broker again and again without a word to it,
// and tears the ends of its files: what was acknowledged is there, but for
// the one record and the one commit whose bytes were cut off.
func TestUncleanEndsLoseNothing(t *testing.T) {
	garbage := func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("\x20\x00\x00\x00half an entr")
		return err
	}
	cut := func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, max(info.Size()-3, 0))
	}
	for _, c := range []struct {
		name    string
		files   string
		tear    func(path string) error
		records int // lost by each tear
		commits int
	}{
		{name: "nothing torn", files: "none"},
		{name: "records begun", files: "data/partitions/t-0/*.dat", tear: garbage},
		{name: "records cut", files: "data/partitions/t-0/*.dat", tear: cut, records: 1},
		{name: "index begun", files: "data/partitions/t-0/*.idx", tear: garbage},
		{name: "index cut", files: "data/partitions/t-0/*.idx", tear: cut},
		{name: "commits begun", files: "data/groups.log", tear: garbage},
		{name: "commits cut", files: "data/groups.log", tear: cut, commits: 1},
		{name: "producers begun", files: "data/pids.log", tear: garbage},
		{name: "producers cut", files: "data/pids.log", tear: cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, dir := t.Context(), t.TempDir()
			var want []string
			commit := int64(0)
			for life := range 4 {
				b := start(t, dir, 0)
				if life > 0 && b.Unclean().IsZero() {
					t.Error("the unclean end was not noticed")
				}
				cl := client(t, b.Addr(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
				admin := kadm.NewClient(cl)
				if life == 0 {
					if _, err := admin.CreateTopic(ctx, 1, 1, nil, "t"); err != nil {
						t.Fatal(err)
					}
				} else {
					want = want[:len(want)-c.records]
					commit -= int64(c.commits)
					if got := readAll(t, b.Addr()); !slices.Equal(got, want) {
						t.Fatalf("life %d: the topic holds %v, want %v", life, got, want)
					}
					committed, err := admin.FetchOffsets(ctx, "group")
					if err != nil {
						t.Fatal(err)
					}
					if o, _ := committed.Lookup("t", 0); o.At != commit {
						t.Fatalf("life %d: the group is at %d, want %d", life, o.At, commit)
					}
				}
				for i := range 5 {
					value := fmt.Sprintf("%d.%d", life, i)
					if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte(value)}).FirstErr(); err != nil {
						t.Fatal(err)
					}
					want = append(want, value)
					commit++
					var offsets kadm.Offsets
					offsets.Add(kadm.Offset{Topic: "t", At: commit, LeaderEpoch: -1})
					if err := admin.CommitAllOffsets(ctx, "group", offsets); err != nil {
						t.Fatal(err)
					}
				}
				before := dir
				dir = copied(t, before)
				files, err := filepath.Glob(filepath.Join(dir, c.files))
				if err != nil || c.tear != nil && len(files) == 0 {
					var there []string
					_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error { there = append(there, path); return nil })
					t.Fatalf("no file %s: %s", c.files, strings.Join(there, "\n"))
				}
				for _, file := range files {
					if err := c.tear(file); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func readAll(t *testing.T, addr string) (values []string) {
	t.Helper()
	cl := client(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().AtStart()}}), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("t", 0)
	for int64(len(values)) < end.Offset {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

// TestOpenTransactionsAreAborted ends the broker while a transaction is open. The
// next one aborts it as Kafka does, with a marker: without one a reader of what
// is committed waits for ever for the last offset, and a later commit of the same
// producer would commit what was aborted.
func TestOpenTransactionsAreAborted(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	var want []string
	for life := range 3 {
		b := start(t, dir, 0)
		if life == 0 {
			if _, err := kadm.NewClient(client(t, b.Addr())).CreateTopic(ctx, 1, 1, nil, "a-1"); err != nil {
				t.Fatal(err)
			}
		}
		cl := client(t, b.Addr(), kgo.TransactionalID("writer"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		write := func(what string) {
			t.Helper()
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "a-1", Value: fmt.Appendf(nil, "%s %d", what, life)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		write("committed")
		if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("committed %d", life))
		write("open")
		dir = copied(t, dir)

		again := start(t, copied(t, dir), 0)
		reader := client(t, again.Addr(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"a-1": {0: kgo.NewOffset().AtStart()}}),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
		ends, err := kadm.NewClient(reader).ListCommittedOffsets(ctx, "a-1")
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup("a-1", 0)
		var got []string
		limit, cancel := context.WithTimeout(ctx, 20*time.Second)
		for next := int64(0); next < end.Offset; {
			fetches := reader.PollFetches(limit)
			if limit.Err() != nil {
				t.Fatalf("life %d: read up to %d of %d, and no further", life, next, end.Offset)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				next = r.Offset + 1
				if !r.Attrs.IsControl() {
					got = append(got, string(r.Value))
				}
			})
		}
		cancel()
		if !slices.Equal(got, want) {
			t.Errorf("life %d: committed are %v, want %v", life, got, want)
		}
	}
}
