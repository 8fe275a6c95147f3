package main

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syncline/schemas/define"
)

const (
	story = `# A field that nobody in Go knows goes from the source to the topic.
crm.party_party c id=5 name=Ada
crm.sale_sale c id=30 party=5 number=20 currency=1 reference=PO-7
----
order native_id=30 number=20 buyers_reference=PO-7
`
	question = `package clickhouse

import (
	"testing"

	"syncline/schemas/canonical"
)

func TestAddedField(t *testing.T) {
	w := openBare(t)
	earlier(t, w)
	fresh := open(t)
	write(t, fresh, "canonical.payment", part(t, 0, 0, &canonical.PaymentRecord{Envelope: env("p1", "a", 1)}))
	asBefore(t, w, fresh, "canonical.payment")
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, w, "canonical.order", part(t, 0, 0, &canonical.OrderRecord{Envelope: env("o1", "a", 1), BuyersReference: ptr("PO-7")}))
	wants(t, w, "native_id, buyers_reference", "orders", "1|PO-7")
	wants(t, w, "comment", "system.columns WHERE database = '"+w.opts.Database+"' AND table = 'canonical_order' AND name = 'buyers_reference'", "what the buyer calls the order")
	wants(t, w, "count()", "payments", "1")
}
`
)

// A field that is passed through is a line in the shape, a line in the record
// and a mapping: then it is generated into topic, table and view. Shown on a
// copy of the module, which is compiled and told a story.
func TestAFieldIsAddedWithoutGo(t *testing.T) {
	const root = "../../.."
	copied := t.TempDir()
	for _, dir := range []string{"schemas", "processors", "pipelines", "sinks", "deploy", "benchmarks"} {
		if err := os.CopyFS(filepath.Join(copied, dir), os.DirFS(filepath.Join(root, dir))); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(copied, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	get := func(dir, name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // ours
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	put("go.mod", get(root, "go.mod"))
	put("go.sum", get(root, "go.sum"))
	before := goFiles(t, copied)
	add := func(name, before, line string) {
		text := get(copied, name)
		if strings.Count(text, before) != 1 {
			t.Fatalf("%s has not exactly one %q", name, before)
		}
		put(name, strings.Replace(text, before, line+before, 1))
	}
	shapes, err := define.Load(os.DirFS(filepath.Join(copied, "schemas/avsc")))
	if err != nil {
		t.Fatal(err)
	}
	order := slices.IndexFunc(shapes, func(r define.Record) bool { return r.Shape && r.Name == "order" })
	number := strconv.Itoa(len(header(shapes[order])))
	add("schemas/avsc/shape/order.avsc", `    {"name": "lines"`, `    {"name": "buyers_reference", "number": `+number+`, "type": ["null", "string"], "group": "commercial", "doc": "what the buyer calls the order"},`+"\n")
	add("schemas/avsc/order.avsc", `    {"name": "lines"`, `    {"name": "buyers_reference", "type": ["null", "string"], "default": null, "from": "buyers_reference", "doc": "what the buyer calls the order"},`+"\n")
	add("pipelines/catalog/tryton.yaml", "      order_date: sale_date\n", "      buyers_reference: reference\n")

	if err := run(copied); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for name, text := range goFiles(t, copied) {
		if before[name] == text {
			continue
		}
		if changed++; !strings.HasSuffix(name, "_gen.go") {
			t.Errorf("%s had to change", name)
		}
	}
	if changed != 4 {
		t.Errorf("%d files of Go changed: shapes, records, copies and columns are 4", changed)
	}
	put("pipelines/testdata/added_field.txt", story)
	put("sinks/clickhouse/added_test.go", question)
	test := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-run", "^(TestStories|TestAddedField)$/^(added_field)?$", "-v", "./pipelines", "./sinks/clickhouse")
	test.Dir = copied
	test.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	out, err := test.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS: TestStories/added_field") == 0 || strings.Count(string(out), "--- PASS: TestAddedField") == 0 {
		t.Fatalf("%v\n%s", err, out)
	}
}

func goFiles(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
			return err
		}
		text, err := os.ReadFile(name) //nolint:gosec // ours
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Nothing is written where a change would break what is stored, and the refusal
// says what to do instead.
func TestNothingIsGeneratedFromABreak(t *testing.T) {
	copied := t.TempDir()
	if err := os.CopyFS(filepath.Join(copied, "schemas"), os.DirFS("../../../schemas")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(copied, "schemas/avsc/shape/product.avsc")
	text, err := os.ReadFile(name) //nolint:gosec // ours
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), `"name": "code", "number": 1`, `"name": "sku", "number": 1`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(copied, "schemas/avsc/product.avsc")
	if text, err = os.ReadFile(record); err != nil { //nolint:gosec // ours
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte(strings.Replace(string(text), `"from": "code"`, `"from": "sku"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	before := goFiles(t, copied)
	err = run(copied)
	if err == nil || !strings.Contains(err.Error(), "shape/product.avsc: field sku: number 1 was that of code") || !strings.Contains(err.Error(), `"retired": true`) {
		t.Errorf("got %v", err)
	}
	if !maps.Equal(before, goFiles(t, copied)) {
		t.Error("something was written")
	}
}
