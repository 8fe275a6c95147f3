package catalog_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"syncline/benchmarks/workload"
	"syncline/pipelines/catalog"
)

// newest answers from the schemas of a recorded feed.
func newest(t *testing.T) catalog.Newest {
	t.Helper()
	rec, err := workload.Open("../../benchmarks/workload/recorded/debezium-tryton")
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]string{}
	for _, s := range rec.Schemas() {
		last[s.Subject] = s.Text
	}
	return func(_ context.Context, subject string) (string, bool, error) {
		text, ok := last[subject]
		return text, ok, nil
	}
}

func TestAgainstRecordedSchemas(t *testing.T) {
	c, err := catalog.Load("tryton")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Against(t.Context(), newest(t))
	if err != nil || len(r.Problems) > 0 || len(r.Warnings) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	if len(r.Unknown) != 1 || r.Unknown[0] != "cdc.crm.public.party_identifier" {
		t.Errorf("topics without a schema: %v", r.Unknown)
	}
}

func TestAgainstFindsWhatHasChanged(t *testing.T) {
	text, err := os.ReadFile("tryton.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, message string }{
		"renamed column":    {"order_number: description", "order_number: order_ref", `no column "order_ref"`},
		"another default":   {`{path: vat_exempt, default: "false"}`, `{path: vat_exempt, default: "true"}`, "default differs"},
		"column not wanted": {"changed: [write_date, create_date]\n    maps: &maps", "changed: [modified]\n    maps: &maps", `no column "modified"`},
		"another kind":      {"order_date: sale_date", "order_date: currency", "which cannot become the field order_date (if its numbers count"},
		"gone, not said":    {"number: reference", "number: ref_no", `no column "ref_no"`},
		"scalar's type":     {"name: name\n      code: code", "name: name.first\n      code: code", ""},
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := strings.Replace(string(text), c.from, c.to, 1)
			if spoiled == string(text) {
				t.Fatalf("%q is not in the catalog", c.from)
			}
			cat, err := catalog.Parse("tryton.yaml", []byte(spoiled))
			if err != nil {
				t.Fatal(err)
			}
			r, err := cat.Against(t.Context(), newest(t))
			if err != nil || len(r.Problems) == 0 {
				t.Fatalf("nothing found: %v", err)
			}
			if p := r.Problems[0]; !strings.Contains(p.Message, c.message) || p.Line < 2 || p.Fix == "" {
				t.Errorf("%v", p)
			}
		})
	}
}
