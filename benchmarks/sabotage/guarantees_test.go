package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuaranteesNameWhatExists: every command of GUARANTEES.md can be called,
// and every line of its tables has one.
func TestGuaranteesNameWhatExists(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "GUARANTEES.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for n, line := range strings.Split(string(text), "\n") {
		found := regexp.MustCompile("`((?:make|go) [^`]+)`").FindAllStringSubmatch(line, -1)
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| promise ") && len(found) == 0 {
			t.Errorf("line %d promises something without a command: %s", n+1, line)
		}
		for _, m := range found {
			commands++
			if err := exists(root, string(makefile), m[1]); err != "" {
				t.Errorf("line %d: `%s`: %s", n+1, m[1], err)
			}
		}
	}
	if commands < 20 {
		t.Errorf("only %d commands were found", commands)
	}
}

// exists says what is wrong with a command, or nothing.
func exists(root, makefile, command string) string {
	words := strings.Fields(command)
	switch {
	case words[0] == "make":
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(words[1]) + `:`).MatchString(makefile) {
			return "the Makefile has no such target"
		}
	case len(words) == 5 && words[1] == "test" && words[3] == "-run":
		tests, _ := filepath.Glob(filepath.Join(root, words[2], "*_test.go"))
		for _, path := range tests {
			text, err := os.ReadFile(path)
			if err == nil && regexp.MustCompile(`(?m)^func `+words[4]+`\(t \*testing\.T\)`).Match(text) {
				return ""
			}
		}
		return "no such test"
	case len(words) >= 4 && words[1] == "run" && words[2] == ".":
		sources, _ := filepath.Glob(filepath.Join(root, "pipelines/cli/*.go"))
		for _, path := range sources {
			text, err := os.ReadFile(path)
			if err == nil && regexp.MustCompile(`Use: +"`+words[3]+`[" ]`).Match(text) {
				return ""
			}
		}
		return "syncline has no such command"
	default:
		return "is of no known form"
	}
	return ""
}
