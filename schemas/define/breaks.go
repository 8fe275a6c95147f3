package define

import (
	"fmt"
	"slices"
	"strings"
)

// Finding is one change of the definitions that must not be released.
type Finding struct {
	File, Field string // Field is dotted; "" for the whole file
	Text        string // what it would do
	Fix         string // what to do instead
}

// String is the finding on one line.
func (f Finding) String() string {
	at := f.File
	if f.Field != "" {
		at += ": field " + f.Field
	}
	return at + ": " + f.Text + "; " + f.Fix
}

// Breaks says what of now would misread rows that were stored under released,
// or break who reads what was published under it.
func Breaks(released, now []Record) []Finding {
	var out []Finding
	for i := range released {
		old := &released[i]
		at := slices.IndexFunc(now, func(r Record) bool { return r.Name == old.Name && r.Shape == old.Shape })
		b := breaks{file: old.file()}
		switch {
		case at < 0 && old.Shape:
			b.add("", "rows of this entity are stored", "keep the file")
		case at < 0:
			b.add("", "the topic and its table have readers", "keep the file")
		case old.Shape:
			b.shape(old, &now[at])
		default:
			if old.Own != now[at].Own {
				b.add("", "the namespace changed, which readers with generated types do not find", "keep it")
			}
			b.record("", old.Fields, now[at].Fields)
		}
		out = append(out, b.found...)
	}
	return out
}

type breaks struct {
	file  string
	found []Finding
}

func (b *breaks) add(field, text, fix string) {
	b.found = append(b.found, Finding{File: b.file, Field: field, Text: text, Fix: fix})
}

// shape compares by number: a stored row knows no names.
func (b *breaks) shape(old, now *Record) {
	parts := map[string][]Field{}
	now.groups(func(part string, fields []Field) { parts[part] = fields })
	old.groups(func(part string, fields []Field) {
		have, ok := parts[part]
		if !ok {
			b.add(part, "rows of this part are stored", "keep the part")
			return
		}
		for _, f := range fields {
			b.number(part, f, have)
		}
		for _, g := range have {
			was := named(fields, g.Name)
			if was != nil && was.Number != g.Number {
				b.add(dotted(part, g.Name), fmt.Sprintf("its number was %d and is %d: stored rows have it at %d", was.Number, g.Number, was.Number), fmt.Sprintf("give it number %d back", was.Number))
			}
			if was == nil && !g.Null && !g.Retired {
				b.add(dotted(part, g.Name), "a new field that is needed refuses every row of a catalog that does not map it", "add null to its type")
			}
		}
	})
}

func (b *breaks) number(part string, was Field, have []Field) {
	var is []Field
	for _, g := range have {
		if g.Number == was.Number {
			is = append(is, g)
		}
	}
	at := dotted(part, was.Name)
	if len(is) == 0 {
		b.add(at, fmt.Sprintf("number %d is gone, and the next new field would take it", was.Number), `keep the field with "retired": true`)
		return
	}
	for _, g := range is {
		switch {
		case g.Name != was.Name:
			b.add(dotted(part, g.Name), fmt.Sprintf("number %d was that of %s, and stored rows hold its values", was.Number, was.Name),
				fmt.Sprintf(`give it the number %d, and keep %s with "retired": true`, next(have), was.Name))
		case was.Retired && !g.Retired:
			b.add(at, "it was retired, and stored rows hold values of before", fmt.Sprintf("make a new field with number %d", next(have)))
		case g.Type != was.Type:
			b.add(at, fmt.Sprintf("stored rows hold a %s, it is now a %s", was.Type, g.Type), fmt.Sprintf(`make a new field with number %d, and keep this one with "retired": true`, next(have)))
		case g.Ref != was.Ref:
			b.add(at, fmt.Sprintf("it named a row of %q and now names one of %q", was.Ref, g.Ref), fmt.Sprintf(`make a new field with number %d, and keep this one with "retired": true`, next(have)))
		case was.Null && !g.Null:
			b.add(at, "stored rows may hold NULL, which is now a letter", "leave null in its type")
		}
		for _, w := range was.Words {
			if !g.Retired && !slices.Contains(g.Words, w) {
				b.add(at, fmt.Sprintf("stored rows hold the word %q", w), "keep the word")
			}
		}
	}
}

// next is the first number that is free.
func next(fields []Field) int {
	n := 0
	for _, f := range fields {
		n = max(n, f.Number+1)
	}
	return n
}

// record compares by name, as Avro's readers and the columns of tables do.
func (b *breaks) record(list string, old, now []Field) {
	for _, was := range old {
		g := named(now, was.Name)
		at := dotted(list, was.Name)
		switch {
		case g == nil:
			b.add(at, "readers of the topic and of the table expect it", "keep it, and let it be null or empty")
		case g.Type != was.Type:
			b.add(at, fmt.Sprintf("it was a %s and is a %s: readers and the column know the first", was.Type, g.Type), "make a new field beside it")
		case g.Null != was.Null:
			b.add(at, "null was added to or taken from its type, which the column and typed readers do not follow", "make a new field beside it")
		case g.Default != was.Default:
			b.add(at, fmt.Sprintf("its default was %s and is %s: older records would read otherwise than before", orNone(was.Default), orNone(g.Default)), "put the default back")
		case g.Type == List && g.Item != was.Item:
			b.add(at, fmt.Sprintf("its items were called %s and are called %s, which readers with generated types do not find", was.Item, g.Item), "put the name back")
		case g.Type == List:
			b.record(at, was.Of, g.Of)
		}
	}
	for _, g := range now {
		if named(old, g.Name) == nil && g.Default == "" {
			b.add(dotted(list, g.Name), "a new field without a default: older records cannot be read", `add a "default"`)
		}
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Explain puts findings on lines of their own.
func Explain(findings []Finding) string {
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}
