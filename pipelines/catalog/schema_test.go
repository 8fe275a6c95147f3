package catalog

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "rewrite catalog.schema.json")

// plainMapping is Mapping without its method, so that reflection sees a struct.
type plainMapping Mapping

// JSONSchema says that a mapping is a column's name or one function.
func (Mapping) JSONSchema() *jsonschema.Schema {
	r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true}
	object := r.Reflect(&plainMapping{})
	object.Version = ""
	one, two := uint64(1), uint64(2) // a default may stand beside the function
	object.MinProperties, object.MaxProperties = &one, &two
	return &jsonschema.Schema{
		Description: "A column's name, or one of seven functions: path, constant, ref, map, time, sum_lines, coalesce.",
		OneOf:       []*jsonschema.Schema{{Type: "string", MinLength: &one}, object},
	}
}

// plainTimeColumn is TimeColumn without its method.
type plainTimeColumn TimeColumn

// JSONSchema says that a column of a time is its name, or says what it counts.
func (TimeColumn) JSONSchema() *jsonschema.Schema {
	r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true}
	object := r.Reflect(&plainTimeColumn{})
	object.Version = ""
	one := uint64(1)
	return &jsonschema.Schema{
		Description: "A column that tells a time: its name, or with time what its numbers count.",
		OneOf:       []*jsonschema.Schema{{Type: "string", MinLength: &one}, object},
	}
}

func generateSchema(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{Anonymous: true}
	if err := r.AddGoComments("syncline/pipelines/catalog", "./"); err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&Catalog{})
	s.Title = "Syncline catalog"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// The committed JSON Schema is what editors and `syncline catalog schema` use:
// it must be that of the structs.
func TestSchemaIsThatOfTheStructs(t *testing.T) {
	want := generateSchema(t)
	if *update {
		if err := os.WriteFile("catalog.schema.json", want, 0o644); err != nil { //nolint:gosec // public
			t.Fatal(err)
		}
	}
	if !bytes.Equal([]byte(Schema()), want) {
		t.Error("catalog.schema.json is not that of the structs; run `go test ./pipelines/catalog -update`")
	}
}

func TestBuiltinCatalogsFitTheSchema(t *testing.T) {
	doc, err := validate.UnmarshalJSON(bytes.NewReader([]byte(Schema())))
	if err != nil {
		t.Fatal(err)
	}
	c := validate.NewCompiler()
	if err := c.AddResource("catalog.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("catalog.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	fits := func(text []byte) error {
		raw, err := yaml.YAMLToJSON(text)
		if err != nil {
			return err
		}
		v, err := validate.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		return schema.Validate(v)
	}
	for _, name := range Builtin() {
		text, err := builtin.ReadFile(name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if err := fits(text); err != nil {
			t.Errorf("%s.yaml: %v", name, err)
		}
	}
	if fits([]byte("catalog: x\nversion: 1\nsystems: {}\nidentity: {master: a, reference: b}\nowners: []\ntables: [{topic: t, colour: red}]\n")) == nil {
		t.Error("an unknown field fits")
	}
}
