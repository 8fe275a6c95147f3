package workload

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shiftedRegistry gives every (subject, schema) an id of its own, far from the
// recorded ones.
type shiftedRegistry struct {
	next  int
	order map[string][]int
	text  map[int]string
}

func (s *shiftedRegistry) Register(_ context.Context, subject, schema string) (int, error) {
	if s.order == nil {
		s.order, s.text = map[string][]int{}, map[int]string{}
	}
	s.next++
	id := 70_000 + s.next
	s.order[subject] = append(s.order[subject], id)
	s.text[id] = schema
	return id, nil
}

type memory struct {
	topics  []string
	records []Record
	flushed bool
}

func (m *memory) CreateTopics(_ context.Context, topics []string, partitions int32) error {
	if partitions != Partitions {
		return fmt.Errorf("asked for %d partitions", partitions)
	}
	m.topics = topics
	return nil
}

func (m *memory) Produce(_ context.Context, r Record) error {
	m.records = append(m.records, r)
	return nil
}

func (m *memory) Flush(context.Context) error {
	m.flushed = true
	return nil
}

func TestLoadKeepsARecordingButForItsIDs(t *testing.T) {
	for _, c := range []struct {
		dir     string
		records int
	}{
		{"recorded/debezium-tryton", 4492},
		{"recorded/debezium-tryton-2", 6625},
	} {
		t.Run(filepath.Base(c.dir), func(t *testing.T) {
			rec, err := Open(c.dir)
			if err != nil {
				t.Fatal(err)
			}
			var before []Record
			if err := rec.Records(t.Context(), func(r Record) error { before = append(before, r); return nil }); err != nil {
				t.Fatal(err)
			}
			reg, to := &shiftedRegistry{}, &memory{}
			last := 0
			n, err := rec.Load(t.Context(), reg, to, LoadOptions{Progress: func(n int) { last = n }})
			if err != nil {
				t.Fatal(err)
			}
			if n != c.records || len(to.records) != c.records || last != c.records || !to.flushed {
				t.Fatalf("loaded %d, produced %d, progress %d, flushed %v; want %d", n, len(to.records), last, to.flushed, c.records)
			}
			old := rec.Subjects()
			tombstones := 0
			for i, r := range to.records {
				b := before[i]
				if r.Topic != b.Topic || r.Partition != b.Partition || r.Timestamp != b.Timestamp || len(r.Headers) != len(b.Headers) {
					t.Fatalf("record %d: %s/%d at %d became %s/%d at %d", i, b.Topic, b.Partition, b.Timestamp, r.Topic, r.Partition, r.Timestamp)
				}
				if r.Value == nil {
					tombstones++
				}
				check(t, i, r.Topic+"-key", b.Key, r.Key, old, reg.order)
				check(t, i, r.Topic+"-value", b.Value, r.Value, old, reg.order)
			}
			if tombstones == 0 {
				t.Error("no tombstone in the recording")
			}
		})
	}
}

// check holds that only the id differs and that it is the one that the registry
// gave at the recorded id's place in the subject.
func check(t *testing.T, n int, subject string, before, after []byte, old, fresh map[string][]int) {
	t.Helper()
	if before == nil || after == nil {
		if (before == nil) != (after == nil) {
			t.Fatalf("record %d, %s: null before %v, after %v", n, subject, before == nil, after == nil)
		}
		return
	}
	if !bytes.Equal(before[5:], after[5:]) || after[0] != 0 {
		t.Fatalf("record %d, %s: payload differs", n, subject)
	}
	was, is := int(binary.BigEndian.Uint32(before[1:])), int(binary.BigEndian.Uint32(after[1:]))
	for i, id := range old[subject] {
		if id == was {
			if fresh[subject][i] != is {
				t.Fatalf("record %d, %s: id %d became %d, want %d", n, subject, was, is, fresh[subject][i])
			}
			return
		}
	}
	t.Fatalf("record %d, %s: id %d is not recorded", n, subject, was)
}

func TestRecordingErrorsNameTheLine(t *testing.T) {
	good := `{"topic":"cdc.a.b","partition":0,"offset":0,"ts":1,"key":"AAAAAGY=","value":null}`
	for _, c := range []struct{ name, lines, want string }{
		{"no JSON", good + "\n{", "line 2"},
		{"gap", good + "\n" + strings.Replace(good, `"offset":0`, `"offset":2`, 1), "line 2: cdc.a.b/0 has offset 2 where 1 is next"},
		{"partition", strings.Replace(good, `"partition":0`, `"partition":9`, 1), "line 1"},
		{"bad base64", strings.Replace(good, `"AAAAAGY="`, `"*"`, 1), "line 1"},
		{"too long", good + "\n" + strings.Repeat("x", maxLine+1), "line 2: longer than"},
		{"unknown id", good, "line 1: key of cdc.a.b has schema id 102"},
		{"no frame", strings.Replace(good, `"AAAAAGY="`, `"AQ=="`, 1), "line 1: key of cdc.a.b: no Confluent frame"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "schemas.json.gz", `{"schemas":{"1":"int"},"subjects":{"cdc.a.b-key":[1]}}`)
			write(t, dir, "changes.jsonl.gz", c.lines+"\n")
			rec, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, err = rec.Load(t.Context(), &shiftedRegistry{}, &memory{}, LoadOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestRecordingReadsFinalRowsAndTruth(t *testing.T) {
	rec, err := Open("recorded/debezium-tryton")
	if err != nil {
		t.Fatal(err)
	}
	final, err := rec.Final()
	if err != nil {
		t.Fatal(err)
	}
	if len(final["crm.party_party"]) != 71 {
		t.Errorf("%d CRM parties, want 71", len(final["crm.party_party"]))
	}
	truth, err := rec.Truth()
	if err != nil || len(truth) != 3 {
		t.Errorf("%d truth files, %v; want 3", len(truth), err)
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder without a recording was opened")
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
