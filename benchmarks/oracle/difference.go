package oracle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// DifferenceKind says in what way something differs.
type DifferenceKind string

// The kinds of differences.
const (
	Missing    DifferenceKind = "missing"    // expected, not there
	Unexpected DifferenceKind = "unexpected" // there, not expected
	Cell       DifferenceKind = "cell"       // another value
	Version    DifferenceKind = "version"    // versions do not rise
	Sum        DifferenceKind = "sum"        // totals do not agree
)

// Difference is one thing that is not as it must be.
type Difference struct {
	View   string         `json:"view"` // or topic
	Key    string         `json:"key,omitempty"`
	Column string         `json:"column,omitempty"`
	Kind   DifferenceKind `json:"kind"`
	Want   string         `json:"want,omitempty"`
	Got    string         `json:"got,omitempty"`
}

// String is one line: view, key, column, want, got.
func (d Difference) String() string {
	switch d.Kind {
	case Missing:
		return fmt.Sprintf("%s %s: missing %s", d.View, d.Key, d.Want)
	case Unexpected:
		return fmt.Sprintf("%s %s: unexpected %s%s", d.View, d.Key, d.Column, d.Got)
	default:
		return fmt.Sprintf("%s %s: %s want %s, got %s", d.View, d.Key, d.Column, d.Want, d.Got)
	}
}

func orNull(text string, there bool) string {
	if !there {
		return "NULL"
	}
	return text
}

func sortDifferences(diffs []Difference) {
	slices.SortFunc(diffs, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.View, b.View), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Want, b.Want), cmp.Compare(a.Got, b.Got))
	})
}

// Tally counts what was compared in one view or topic.
type Tally struct {
	View      string `json:"view"`
	Expected  int    `json:"expected"`
	Found     int    `json:"found"`
	Different int    `json:"different"`
}

// Report is the outcome of a comparison.
type Report struct {
	Tallies     []Tally      `json:"views"`
	Differences []Difference `json:"differences"`
}

// OK tells whether there is no difference and anything was compared at all.
func (r Report) OK() bool { return len(r.Differences) == 0 && len(r.Tallies) > 0 }

// Join appends another report.
func (r Report) Join(o Report) Report {
	return Report{Tallies: slices.Concat(r.Tallies, o.Tallies), Differences: slices.Concat(r.Differences, o.Differences)}
}

// Without leaves out a view.
func (r Report) Without(view string) Report {
	return Report{
		Tallies:     slices.DeleteFunc(slices.Clone(r.Tallies), func(t Tally) bool { return t.View == view }),
		Differences: slices.DeleteFunc(slices.Clone(r.Differences), func(d Difference) bool { return d.View == view }),
	}
}

// tally counts the differences of each view into its line.
func (r *Report) tally() {
	n := map[string]int{}
	for _, d := range r.Differences {
		n[d.View]++
	}
	for i := range r.Tallies {
		r.Tallies[i].Different = n[r.Tallies[i].View]
	}
}

// Print writes the table of views, then at most limit differences and how many
// more there are. A limit below one prints all.
func (r Report) Print(w io.Writer, limit int) error {
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tab, "view\texpected\tfound\tdifferent")
	for _, t := range r.Tallies {
		fmt.Fprintf(tab, "%s\t%d\t%d\t%d\n", t.View, t.Expected, t.Found, t.Different)
	}
	if err := tab.Flush(); err != nil {
		return fmt.Errorf("printing report: %w", err)
	}
	for i, d := range r.Differences {
		if limit > 0 && i == limit {
			_, err := fmt.Fprintf(w, "… and %d more\n", len(r.Differences)-limit)
			return err
		}
		if _, err := fmt.Fprintln(w, d); err != nil {
			return fmt.Errorf("printing report: %w", err)
		}
	}
	return nil
}

// JSON writes the whole report as one JSON document.
func (r Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("printing report: %w", err)
	}
	return nil
}
