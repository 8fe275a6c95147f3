package intake

import (
	"fmt"
	"slices"
	"strings"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// The reasons for which a table waits: its records cannot be read as the catalog
// says, and reading them otherwise would put NULL over known values.
const (
	ReasonColumnGone = "schema.column_gone" // a mapped column is not in the writer's schema
	ReasonKind       = "schema.kind"        // a mapped column's values cannot become what it is mapped to
)

// Misfit is a mapped column that a writer's schema does not give as its mapping
// needs it.
type Misfit struct {
	Column string
	// Reason is ReasonColumnGone or ReasonKind.
	Reason string
	// What is the trouble in words.
	What string
	// Likely is what the column is called now, as far as can be guessed; "" for no
	// guess.
	Likely string
	// Key says that the column is one of the key: nothing can be read without it.
	Key bool
}

// use is one purpose of a column.
type use struct {
	what   string // "field amount"
	takes  func(change.Kind) bool
	counts bool // a number would do if the catalog said what it counts
	money  bool
}

// used notes for the check what a column is for.
func (s *Source) used(column string, u use) {
	if s.uses == nil {
		s.uses = map[string][]use{}
	}
	s.uses[column] = append(s.uses[column], u)
}

// hasText are the kinds that Text takes.
func hasText(k change.Kind) bool {
	switch k {
	case change.Nested, change.Bytes, change.Duration:
		return false
	}
	return true
}

// takes reports whether the field can be had from values of a kind.
func (f *Field) takes(k change.Kind) bool {
	if f.translates() {
		return hasText(k)
	}
	return f.reading.takes(k)
}

// Misfits holds a writer's schema against the mapping: the columns that are not
// there and have no default, and those whose kind the mapping cannot take, by
// name. A schema without an after image is none of a change; what is wrong with
// it is told by its records.
func (s *Source) Misfits(w *projection.Schema) []Misfit {
	columns := w.Columns("after")
	if len(columns) == 0 {
		return nil
	}
	byName := make(map[string]projection.Column, len(columns))
	for _, c := range columns {
		byName[c.Name] = c
	}
	var out []Misfit
	for name, n := range s.columns {
		c, there := byName[name]
		m := Misfit{Column: name, Key: slices.Contains(s.Key, name)}
		switch {
		case !there && s.want[n].Default != nil:
			continue
		case !there:
			m.Reason, m.What = ReasonColumnGone, "is not in the schema"
			m.Likely = s.likely(name, columns)
		default:
			if m.What = s.misfit(name, c); m.What == "" {
				continue
			}
			m.Reason = ReasonKind
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Misfit) int { return strings.Compare(a.Column, b.Column) })
	return out
}

// Inexact lists the columns of a schema that are mapped to an amount and hold
// floating-point numbers, by name.
func (s *Source) Inexact(w *projection.Schema) []string {
	var out []string
	for _, c := range w.Columns("after") {
		exact := !slices.Contains(c.Kinds, change.Double)
		if !exact && slices.ContainsFunc(s.uses[c.Name], func(u use) bool { return u.money }) {
			out = append(out, c.Name)
		}
	}
	slices.Sort(out)
	return out
}

// misfit says what a column cannot be used for, "" if it can for all.
func (s *Source) misfit(name string, c projection.Column) string {
	if c.Trouble != "" {
		return "cannot be read: " + c.Trouble
	}
	for _, u := range s.uses[name] {
		if len(c.Kinds) == 0 || slices.ContainsFunc(c.Kinds, u.takes) {
			continue
		}
		kinds := make([]string, len(c.Kinds))
		for i, k := range c.Kinds {
			kinds[i] = k.String()
		}
		what := fmt.Sprintf("is of kind %s, which cannot become the %s", strings.Join(kinds, " or "), u.what)
		if u.counts && slices.Contains(c.Kinds, change.Int) {
			what += fmt.Sprintf(" (if its numbers count from 1970 on, write {time: {path: %s, unit: s}} or ms, us, ns)", name)
		}
		return what
	}
	return ""
}

// likely is the column that a missing one may be called now: of those that no
// mapping uses and whose values would do, the one with the nearest name.
func (s *Source) likely(name string, columns []projection.Column) string {
	best, nearest := "", 0.0
	for _, c := range columns {
		if _, mapped := s.columns[c.Name]; mapped || s.misfit(name, c) != "" {
			continue
		}
		if near := alike(name, c.Name); near > nearest {
			best, nearest = c.Name, near
		}
	}
	return best
}

// alike tells how near two names are, from 0 (below what is worth a guess) to 1:
// by the letters to change, or by the words that they share.
func alike(a, b string) float64 {
	a, b = strings.ToLower(a), strings.ToLower(b)
	letters := 1 - float64(editDistance(a, b))/float64(max(len(a), len(b), 1))
	words, shared := strings.Split(a, "_"), 0
	others := strings.Split(b, "_")
	for _, w := range words {
		if len(w) > 2 && slices.Contains(others, w) {
			shared++
		}
	}
	if near := max(letters, float64(shared)/float64(max(len(words), len(others)))); near >= 0.3 {
		return near
	}
	return 0
}

// editDistance counts the bytes to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Explain says of a topic's schema what does not fit, and what to do. id is the
// schema's, 0 where it is not known.
func (m Misfit) Explain(topic string, id int) string {
	schema := "the newest schema"
	if id > 0 {
		schema = fmt.Sprintf("schema id %d", id)
	}
	s := fmt.Sprintf("topic %s, %s: mapped column %q %s", topic, schema, m.Column, m.What)
	if m.Likely != "" {
		s += fmt.Sprintf("; is it called %q now?", m.Likely)
	}
	s += "; records of this schema wait until the mapping in the catalog is corrected"
	if !m.Key {
		s += fmt.Sprintf(", or the column accepted as gone (known values stay): syncline feeds accept %s --column-gone %s", topic, m.Column)
	}
	return s
}
