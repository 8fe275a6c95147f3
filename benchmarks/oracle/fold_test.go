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
			f, err := foldRecording(recordingDir(name))
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
