package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ExpectWorkload takes the truth that the simulated company knows and makes it
// what every view must show: kpi_daily follows from the deals where the company
// does not give it, and extra columns that no row of a view has are marked
// unknown. The truth must cover every other view and be well formed.
func ExpectWorkload(truth Expected) (Expected, error) {
	out := make(Expected, len(truth)+1)
	for view, rows := range truth {
		out[view] = unknowing(view, rows)
	}
	if _, given := out["kpi_daily"]; !given {
		out["kpi_daily"] = dailyKPIs(out["deals"])
	}
	if err := out.complete(); err != nil {
		return nil, fmt.Errorf("the workload's truth: %w", err)
	}
	return out, nil
}

// unknowing returns the rows with the view's extra columns that none of them
// has marked unknown.
func unknowing(name string, rows []Row) []Row {
	view, ok := ViewNamed(name)
	if !ok {
		return rows // Check complains
	}
	var absent []string
	for _, c := range view.Columns {
		if c.Extra && c.Source == "" && !slices.ContainsFunc(rows, func(r Row) bool { _, ok := r[c.Name]; return ok }) {
			absent = append(absent, c.Name)
		}
	}
	if len(absent) == 0 {
		return rows
	}
	out := make([]Row, len(rows))
	for i, r := range rows {
		out[i] = maps.Clone(r)
		out[i][NoteUnknown] = strings.Join(absent, ",")
	}
	return out
}
