package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Problem is one mistake in a catalog, with its place.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
	Fix     string `json:"fix"`
}

// Error gives "file:line:column: path: message; fix".
func (p Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Path != "" {
		s += p.Path + ": "
	}
	s += p.Message
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// Problems is an error made of all mistakes found.
type Problems []Problem

// Error lists them, a line each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// linter collects problems of one catalog.
type linter struct {
	c        *Catalog
	tree     *ast.File
	problems Problems
	warnings Problems
}

// maxProblems bounds one run: whoever has more begins at the top.
const maxProblems = 200

// Lint checks what the type of the file cannot: names that must exist, one owner
// per field group, one mapping function per field, fields that must be mapped.
func (c *Catalog) Lint() Problems {
	l := &linter{c: c, tree: c.tree}
	l.top()
	l.systems()
	l.identity()
	l.owners()
	l.topics()
	for i := range c.Tables {
		l.table(i)
	}
	l.parents()
	l.prefixes()
	l.references()
	l.unusedMaps()
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return a.Line - b.Line })
	return l.problems
}

func (l *linter) add(path, fix, format string, args ...any) {
	l.problems = l.note(l.problems, path, fix, fmt.Sprintf(format, args...))
}

// warn notes what is no mistake of the catalog.
func (l *linter) warn(path, fix, format string, args ...any) {
	l.warnings = l.note(l.warnings, path, fix, fmt.Sprintf(format, args...))
}

func (l *linter) note(list Problems, path, fix, message string) Problems {
	if len(list) >= maxProblems {
		return list
	}
	p := Problem{File: l.c.file, Line: 1, Column: 1, Path: strings.TrimPrefix(path, "$."), Message: message, Fix: fix}
	p.Line, p.Column = l.place(path)
	return append(list, p)
}

// place finds the line of a path, or of the nearest ancestor that is there.
func (l *linter) place(path string) (line, column int) {
	for l.tree != nil && path != "$" && path != "" {
		if p, err := yaml.PathString(path); err == nil {
			if node, err := p.FilterFile(l.tree); err == nil && node != nil && node.GetToken() != nil {
				pos := node.GetToken().Position
				return pos.Line, pos.Column
			}
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return 1, 1
}
