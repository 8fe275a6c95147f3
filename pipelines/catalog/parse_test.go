package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhatIsNoCatalog(t *testing.T) {
	for name, c := range map[string]struct {
		text         string
		line, column int
		message      string
	}{
		"unknown field":    {strings.Replace(good, "version: 1", "vresion: 1", 1), 2, 1, `unknown field "vresion"`},
		"unknown in depth": {strings.Replace(good, "parent: bill", "parnet: bill", 1), 36, 5, `unknown field "parnet"`},
		"wrong type":       {strings.Replace(good, "version: 1", "version: one", 1), 2, 10, "cannot unmarshal string"},
		"list for text":    {strings.Replace(good, "system: crm\n    entity: party", "system: [crm]\n    entity: party", 1), 11, 13, "cannot unmarshal"},
		"text for list":    {strings.Replace(good, "key: [id]", "key: id", 1), 13, 10, "string was used where sequence is expected"},
		"syntax":           {strings.Replace(good, "owners:", "owners: [", 1), 9, 1, "',' or ']' must be specified"},
		"tab":              {strings.Replace(good, "    entity: party", "\tentity: party", 1), 12, 1, `found character '	' that cannot start any token`},
		"indentation":      {strings.Replace(good, "    entity: party", "   entity: party", 1), 12, 4, "value is not allowed in this context"},
		"twice":            {good + "version: 2\n", 38, 1, `mapping key "version" already defined`},
		"mapping's field":  {strings.Replace(good, "{sum_lines: true}", "{sum_line: true}", 1), 29, 13, `unknown field "sum_line"`},
		"no such anchor":   {strings.Replace(good, "{name: name}", "*fields", 1), 14, 14, `could not find alias "fields"`},
		"second document":  {good + "---\ncatalog: more\n", 39, 8, "a second document"},
		"empty":            {"", 1, 1, "the catalog is empty"},
		"only a comment":   {"# nothing\n", 1, 1, "the catalog is empty"},
		"a list":           {"- a\n- b\n", 1, 1, "sequence was used where mapping is expected"},
		"a text":           {"catalog\n", 1, 1, "string was used where mapping is expected"},
		"not text":         {"\x00\x01\xff\xfe", 1, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("bad.yaml", []byte(c.text))
			problems, ok := errors.AsType[Problems](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("got %v", err)
			}
			p := problems[0]
			if p.Line != c.line || p.Column != c.column || !strings.Contains(p.Message, c.message) || p.Fix == "" {
				t.Errorf("want %d:%d: %s; got: %v", c.line, c.column, c.message, p)
			}
		})
	}
}

func TestByteOrderMark(t *testing.T) {
	if _, err := Parse("good.yaml", []byte("\ufeff"+good)); err != nil {
		t.Error(err)
	}
}

// bomb stands for 10^12 texts by aliases of aliases.
func bomb() string {
	var b strings.Builder
	b.WriteString("catalog: [&a0 x")
	for i := range 12 {
		fmt.Fprintf(&b, ",&a%d [%s]", i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	return b.String() + "]\nversion: *a12\n"
}

func hostile() map[string]string {
	var stairs strings.Builder
	for i := range 2000 {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	var keys strings.Builder
	for i := range maxTokens / 4 {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	return map[string]string{
		"brackets":      strings.Repeat("[", maxFile),
		"braces":        strings.Repeat("{a: ", maxFile/4),
		"dashes":        strings.Repeat("- ", maxFile/2),
		"questions":     strings.Repeat("? ", maxFile/2),
		"colons":        strings.Repeat("a: ", maxFile/3),
		"stairs":        stairs.String(),
		"stairs in use": "tables:\n  - fields:\n" + strings.ReplaceAll(stairs.String(), "a:", "   a:"),
		"anchors":       strings.Repeat("&a ", maxTokens/2),
		"tags":          "catalog: " + strings.Repeat("!a ", maxTokens/2),
		"quotes":        "catalog: \"" + strings.Repeat(`\n`, maxFile/2-10) + "\"",
		"comments":      strings.Repeat("#\n", maxTokens/2),
		"documents":     strings.Repeat("---\n", maxTokens),
		"keys":          keys.String(),
		"tables":        "tables: [" + strings.Repeat("{},", maxTokens/4) + "]",
		"nulls in rows": "tables: [" + strings.Repeat("~,", maxTokens/4) + "]",
		"bomb":          bomb(),
		"flat bomb":     "a: &a " + strings.Repeat("x", maxFile/2) + "\ntables: [" + strings.Repeat("*a,", 1000) + "]",
		"itself":        "tables: &a [*a]\n",
		"merges itself": "tables: [&a {<<: *a}]\n",
		"too large":     strings.Repeat("#", maxFile+1),
		"nulls": "catalog: null\nversion: null\nsystems: {a: null}\nidentity: null\nowners: [null]\n" +
			"tables: [null, {entity: party, fields: {name: null}, party: null, milestones: {created: null}, key: [null], changed: null}]\n",
		"nulls in functions": strings.ReplaceAll(good, "{sum_lines: true}", "{path: null, constant: null, ref: null, map: null, sum_lines: null, coalesce: [null]}"),
		"names":              strings.ReplaceAll(good, "erp:", `"$.['x']..*[0]":`),
	}
}

// Hostile files end in an error with a place, soon.
func TestHostileFiles(t *testing.T) {
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("hostile.yaml", []byte(text))
			problems, ok := errors.AsType[Problems](err)
			if !ok || len(problems) == 0 || len(problems) > maxProblems || problems[0].Line < 1 {
				t.Errorf("got %.200v", err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestOpenReadsNoMoreThanItsBound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<40); err != nil { // a sparse file
		t.Fatal(err)
	}
	_, err := Open(file)
	if err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// No text makes Parse panic, return neither or both of catalog and error, or
// take long.
func FuzzParse(f *testing.F) {
	f.Add(good)
	for _, text := range hostile() {
		f.Add(text[:min(len(text), 1000)])
	}
	f.Fuzz(func(t *testing.T, text string) {
		start := time.Now()
		c, err := Parse("fuzz.yaml", []byte(text))
		if (c == nil) == (err == nil) {
			t.Errorf("neither or both of catalog and error")
		}
		if c != nil {
			if _, err := c.Sources(); err != nil {
				t.Errorf("it lints and does not compile: %v", err)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
