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
	problems, unknown, err := c.Against(t.Context(), newest(t))
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	if len(unknown) != 1 || unknown[0] != "cdc.crm.public.party_identifier" {
		t.Errorf("topics without a schema: %v", unknown)
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
			problems, _, err := cat.Against(t.Context(), newest(t))
			if err != nil || len(problems) == 0 {
				t.Fatalf("nothing found: %v", err)
			}
			if p := problems[0]; !strings.Contains(p.Message, c.message) || p.Line < 2 || p.Fix == "" {
				t.Errorf("%v", p)
			}
		})
	}
}
