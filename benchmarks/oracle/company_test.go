package oracle_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload/company"
)

// TestCompanysTruthIsAccepted holds that the simulated company tells its truth
// in the form that the comparison wants, and that its KPIs are those that
// follow from its deals.
func TestCompanysTruthIsAccepted(t *testing.T) {
	g, err := company.New(company.Config{Seed: 5, Accounts: 60})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, ok := g.Next(); !ok {
			break
		}
	}
	truth, err := g.Truth()
	if err != nil {
		t.Fatal(err)
	}
	given, err := oracle.ExpectWorkload(truth)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range oracle.Views() {
		if len(given[v.Name]) == 0 {
			t.Errorf("the company has no row of %s", v.Name)
		}
	}
	delete(truth, "kpi_daily")
	made, err := oracle.ExpectWorkload(truth)
	if err != nil {
		t.Fatal(err)
	}
	byKey := cmpopts.SortSlices(func(a, b oracle.Row) bool {
		return a["metric"]+a["day"] < b["metric"]+b["day"]
	})
	if d := cmp.Diff(made["kpi_daily"], given["kpi_daily"], byKey); d != "" {
		t.Errorf("kpi_daily of its deals, and as the company tells it: %s", d)
	}
}
