package oracle

import (
	"path/filepath"
	"testing"
)

// recordings are the recorded feeds beside the workload.
func recordings() []string { return []string{"debezium-tryton", "debezium-tryton-2"} }

func recordingDir(name string) string { return filepath.Join("..", "workload", "recorded", name) }

func TestFoldGivesTheFinalRows(t *testing.T) {
	for _, name := range recordings() {
		t.Run(name, func(t *testing.T) {
			f, err := foldRecording(recordingDir(name), 1)
			if err != nil {
				t.Fatal(err)
			}
			final, err := readFinal(recordingDir(name))
			if err != nil {
				t.Fatal(err)
			}
			for i, d := range f.checkFinal(final) {
				if i == 20 {
					break
				}
				t.Error(d)
			}
			for topic, c := range f.feeds {
				if c.repeated+c.stale > 0 {
					t.Logf("%s: %+v", topic, *c)
				}
			}
		})
	}
}

// What stands in a row's place at one position, keys that were exchanged, and
// rows that were read without a position.
func TestWhatStandsInARowsPlace(t *testing.T) {
	at := func(lsn int64) position { return position{lsn: lsn, streamed: 1} }
	named := func(name string, img image) image {
		img.row = map[string]any{"name": name}
		return img
	}
	for _, c := range []struct {
		name    string
		history []image
		want    string // name of the last image, "" where the row is gone
		images  int
	}{
		{"deleted and made again at one position", []image{
			named("new", image{at: at(2), commit: 2, created: true}), {at: at(2), commit: 2, deleted: true}, named("old", image{at: at(1), commit: 1, created: true}),
		}, "new", 1},
		{"keys exchanged", []image{
			named("second", image{at: at(1), commit: 1, created: true}), named("first", image{at: at(2), commit: 5, created: true}), {at: at(3), commit: 5, deleted: true},
		}, "first", 2},
		{"deleted later", []image{
			named("second", image{at: at(1), commit: 1, created: true}), named("first", image{at: at(2), commit: 5, created: true}), {at: at(3), commit: 6, deleted: true},
		}, "", 0},
		{"made and deleted at once", []image{named("a", image{at: at(2), commit: 5, created: true}), {at: at(3), commit: 5, deleted: true}}, "", 0},
		{"read behind a change", []image{
			named("changed", image{at: at(2), commit: 5}), named("read", image{unplaced: true, snapshot: true, commit: 7}),
		}, "read", 2},
		{"read before a change", []image{
			named("read", image{unplaced: true, snapshot: true, commit: 4}), named("changed", image{at: at(2), commit: 5}),
		}, "changed", 2},
		{"read twice", []image{
			named("later", image{unplaced: true, snapshot: true, commit: 9}), named("earlier", image{unplaced: true, snapshot: true, commit: 8}),
		}, "later", 2},
	} {
		l := lived(c.history...)
		got := ""
		if len(l) > 0 {
			got, _ = l.last().row["name"].(string)
		}
		if got != c.want || len(l) != c.images {
			t.Errorf("%s: %q of %d images, want %q of %d", c.name, got, len(l), c.want, c.images)
		}
	}
}

// Rows that the last whole snapshot does not have are gone, if they are few.
func TestWhatASnapshotLacks(t *testing.T) {
	snapshot := position{lsn: 100}
	history := func(lsn int64) []image {
		return []image{{at: position{lsn: lsn, streamed: 1}, commit: lsn, created: true}}
	}
	rows := map[string][]image{"1": history(10), "2": history(150), "3": {{at: snapshot, snapshot: true}}}
	if got := living(rows, position{}); len(got) != 3 {
		t.Errorf("no snapshot: %d rows", len(got))
	}
	if got := living(rows, snapshot); len(got) != 2 || got["1"] != nil {
		t.Errorf("a snapshot without row 1: %v", got)
	}
	for _, id := range []string{"4", "5", "6"} {
		rows[id] = history(11)
	}
	if got := living(rows, snapshot); len(got) != 6 {
		t.Errorf("4 of 6 rows are missing: %d are left, want all", len(got))
	}
}
