package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTableFits: what a sabotage replaces is there, once, and so is its test.
// Where the code moves on, the sabotage has to follow.
func TestTableFits(t *testing.T) {
	const root = "../.."
	names := map[string]bool{}
	for _, s := range table() {
		if names[s.name] || s.what == "" || len(s.edits) == 0 {
			t.Errorf("%s: its name is not its own, or it says nothing", s.name)
		}
		names[s.name] = true
		for _, e := range s.edits {
			if _, err := e.apply(root); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
		tests, err := filepath.Glob(filepath.Join(root, s.pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(s.test, "/")
		declared := regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`)
		if !slices.ContainsFunc(tests, func(path string) bool {
			text, err := os.ReadFile(path)
			return err == nil && declared.Match(text)
		}) {
			t.Errorf("%s: no test %s in %s", s.name, s.test, s.pkg)
		}
	}
}

func TestTextThatIsGone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("one two two"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]string{"one": "", "two": "2 times", "three": "0 times"} {
		_, err := edit{"a.go", old, "x"}.apply(dir)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", old, err, want)
		}
	}
}

// TestPick: changed files first, then turn by turn, until all had theirs.
func TestPick(t *testing.T) {
	var all []sabotage
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		all = append(all, sabotage{name: name, edits: []edit{{file: name + ".go"}}})
	}
	had := map[string]bool{}
	for i := range 64 {
		picked := pick(all, 3, strings.Repeat("x", i), []string{"d.go", "b.go"})
		if len(picked) != 3 || !slices.ContainsFunc(picked[:2], func(s sabotage) bool { return s.name == "b" }) || !slices.ContainsFunc(picked[:2], func(s sabotage) bool { return s.name == "d" }) {
			t.Fatalf("picked %v", picked)
		}
		had[picked[2].name] = true
	}
	if len(had) != 3 {
		t.Errorf("only %v had their turn", had)
	}
}
