package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBoundedLogKeepsTheNewest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const limit = 10_000
	log := newBoundedLog(f, limit)
	for i := range 5_000 {
		if _, err := fmt.Fprintf(log, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err != nil || info.Size() > limit+100 {
			t.Fatalf("the log has %d bytes, %v", info.Size(), err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if !strings.HasSuffix(text, "line 4998\nline 4999\n") || !strings.HasPrefix(text, "... ") || len(text) < limit/2 {
		t.Errorf("the log of %d bytes begins %.60q and ends %q", len(text), text, text[len(text)-30:])
	}
}
