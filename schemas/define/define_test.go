package define

import (
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"syncline/schemas/avsc"
)

func ours(t *testing.T) []Record {
	t.Helper()
	all, err := Load(avsc.Files())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What is stored and published must stay readable, and what was added must be
// noted, or it could be changed unseen.
func TestReleased(t *testing.T) {
	text, err := os.ReadFile("released.json")
	if err != nil {
		t.Fatal(err)
	}
	var released []Record
	if err := json.Unmarshal(text, &released); err != nil {
		t.Fatal(err)
	}
	now := ours(t)
	for _, f := range Breaks(released, now) {
		t.Error(f)
	}
	if diff := cmp.Diff(released, now); diff != "" {
		t.Errorf("released.json is not up to date; run make generate: %s", diff)
	}
}

// edited is our files with one replacement in one of them.
func edited(t *testing.T, name, old, with string) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	files := avsc.Files()
	for _, pattern := range []string{"*.avsc", "shape/*.avsc"} {
		names, err := fs.Glob(files, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			text, err := fs.ReadFile(files, n)
			if err != nil {
				t.Fatal(err)
			}
			if n == name {
				if !strings.Contains(string(text), old) {
					t.Fatalf("%s has no %q", name, old)
				}
				text = []byte(strings.Replace(string(text), old, with, 1))
			}
			out[n] = &fstest.MapFile{Data: text}
		}
	}
	return out
}

// lastField is the one of the order's shape with the greatest number.
const lastField = `{"name": "phase", "number": 9, "type": ["null", "string"], "words": ["draft", "confirmed", "done", "cancelled"], "group": "commercial", "doc": "state in canonical words; NULL: cancelled where the state is a plain word for it"}`

func TestLoadRefuses(t *testing.T) {
	const (
		shape  = "shape/order.avsc"
		record = "order.avsc"
		state  = `{"name": "state", "type": ["null", "string"], "default": null, "from": "state", "doc": "state in the word of its system"}`
	)
	for name, c := range map[string]struct{ file, old, with, want string }{
		"no JSON":                   {shape, "{", "{{", "shape/order.avsc: invalid"},
		"something behind":          {record, `"doc": "A sales order.",`, `"doc": "A sales order."} {`, "follows"},
		"misspelled property":       {record, `"from": "state"`, `"form": "state"`, `unknown field "form"`},
		"no doc":                    {record, `"doc": "state in the word of its system"`, `"doc": ""`, "field state: doc is missing"},
		"no doc of a record":        {record, `"doc": "A sales order."`, `"doc": ""`, "order.avsc: doc is missing"},
		"another name":              {record, `"name": "Order"`, `"name": "Ordre"`, `by the file's name it is "Order"`},
		"another namespace":         {record, "syncline.canonical", "syncline.shape", "namespace"},
		"bad field name":            {record, `"name": "state"`, `"name": "State"`, "lower case"},
		"twice":                     {record, `"name": "number"`, `"name": "state"`, "field state: there are two"},
		"unknown type":              {record, `{"name": "state", "type": ["null", "string"]`, `{"name": "state", "type": ["null", "double"]`, "field state: type \"double\""},
		"union":                     {record, `{"name": "state", "type": ["null", "string"]`, `{"name": "state", "type": ["string", "null"]`, "field state: a union is"},
		"scale":                     {record, `"scale": 9`, `"scale": 2`, "precision 38 and scale 9"},
		"amount that is never null": {record, `"type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9}], "default": null`, `"type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9}`, "add null"},
		"no default":                {record, `"default": null, "from": "state"`, `"from": "state"`, `"default": null is missing`},
		"shape's property":          {record, `"from": "state"`, `"from": "state", "number": 3`, "properties of shapes"},
		"record's property":         {shape, `"doc": "free text"`, `"few": true, "doc": "free text"`, "properties of records"},
		"class":                     {record, `"from": "state"`, `"from": "state", "class": "secret"`, `class "secret"`},
		"no shape":                  {record, `"shape": "order"`, `"shape": "ordre"`, `shape "ordre"`},
		"nothing to copy":           {record, `"from": "state"`, `"from": "stage"`, "shape order has no such field"},
		"copy of another type":      {record, `"from": "state"`, `"from": "order_date"`, "cannot be copied"},
		"copy loses its class":      {shape, `"group": "commercial", "doc": "number`, `"group": "commercial", "class": "personal", "doc": "number`, "keeps the class"},
		"copy of what is retired":   {shape, `"name": "number", "number": 1,`, `"name": "number", "number": 1, "retired": true,`, "no such field"},
		"no number":                 {shape, `"name": "comment", "number": 8`, `"name": "comment"`, "number is missing"},
		"number twice":              {shape, `"name": "comment", "number": 8`, `"name": "comment", "number": 7`, "order of their numbers"},
		"gap":                       {shape, `"name": "comment", "number": 8`, `"name": "comment", "number": 9`, "order of their numbers"},
		"ref":                       {shape, `"ref": "opportunity"`, `"ref": "deal"`, `ref "deal"`},
		"retired and needed":        {shape, `"name": "currency", "number": 6`, `"name": "currency", "number": 6, "retired": true`, "add null"},
		"part without a name":       {shape, `"part": "line", `, ``, "part is a property"},
		"envelope":                  {record, "id of the source row", "the id of the source row", "begin with the envelope"},
		"lines unlike others":       {record, "entity_id of the product", "id of the product", "not the same"},
		"items without a name":      {record, `"name": "Line"`, `"name": ""`, "records with a name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(edited(t, c.file, c.old, c.with))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want an error with %q, got %v", c.want, err)
			} else if !strings.Contains(err.Error(), ".avsc") {
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
	if _, err := Load(fstest.MapFS{}); err == nil {
		t.Error("no file at all")
	}
}

func TestBreaks(t *testing.T) {
	const (
		shape  = "shape/order.avsc"
		record = "order.avsc"
		number = `{"name": "number", "type": ["null", "string"], "default": null, "from": "number", "doc": "number that people call it by; subscriptions and invoices are joined by it"},`
	)
	for name, c := range map[string]struct{ file, old, with, field, fix string }{
		"number used for another": {shape, `"name": "comment", "number": 8`, `"name": "note", "number": 8`, "note", `number 10, and keep comment with "retired"`},
		"number gone":             {shape, ",\n    " + lastField, "", "phase", `"retired": true`},
		"kind changed":            {shape, `"name": "comment", "number": 8, "type": ["null", "string"]`, `"name": "comment", "number": 8, "type": ["null", "long"]`, "comment", "number 10"},
		"ref changed":             {"shape/entry.avsc", `"ref": "party"`, `"ref": "order"`, "line.party", "number 4"},
		"needed now":              {shape, `"name": "comment", "number": 8, "type": ["null", "string"]`, `"name": "comment", "number": 8, "type": "string"`, "comment", "leave null"},
		"word gone":               {"shape/opportunity.avsc", `, "lost"]`, `]`, "phase", "keep the word"},
		"part gone":               {"shape/invoice.avsc", `"part": "tax"`, `"part": "levy"`, "tax", "keep the part"},
		"new and needed":          {shape, lastField, lastField + `, {"name": "note", "number": 10, "type": "string", "doc": "a note"}`, "note", "add null"},
		"record field gone":       {record, number, "", "number", "keep it"},
		"record type changed":     {"feed.avsc", `"name": "received", "type": "long"`, `"name": "received", "type": "int"`, "received", "new field"},
		"default changed":         {"deal.avsc", `"default": "opened"`, `"default": "won"`, "stage", "default back"},
		"null taken":              {"invoice.avsc", `{"name": "number", "type": ["null", "string"], "default": null, "from": "number"`, `{"name": "number", "type": "string", "from": "number"`, "number", "new field"},
		"items renamed":           {"account.avsc", `"name": "Contact"`, `"name": "Reach"`, "contacts", "name back"},
		"no default":              {record, number, number + `{"name": "comment", "type": "string", "doc": "free text"},`, "comment", "default"},
	} {
		t.Run(name, func(t *testing.T) {
			now, err := Load(edited(t, c.file, c.old, c.with))
			if err != nil {
				t.Fatal(err)
			}
			found := Breaks(ours(t), now)
			if len(found) != 1 || found[0].File != c.file || found[0].Field != c.field || !strings.Contains(found[0].Fix, c.fix) {
				t.Errorf("want one finding at %s with %q, got:\n%s", c.field, c.fix, Explain(found))
			}
		})
	}
	t.Run("numbers swapped", func(t *testing.T) {
		now := ours(t)
		for i := range now {
			if now[i].Name == "order" && now[i].Shape {
				f := now[i].Fields
				f[4].Number, f[5].Number = f[5].Number, f[4].Number
			}
		}
		if found := Breaks(ours(t), now); len(found) < 2 {
			t.Errorf("tax and gross are mixed up: %v", found)
		}
	})
	t.Run("file gone", func(t *testing.T) {
		if found := Breaks(ours(t), ours(t)[1:]); len(found) != 1 || found[0].Fix != "keep the file" {
			t.Error(found)
		}
	})
	t.Run("brought back", func(t *testing.T) {
		retired, err := Load(edited(t, shape, `"name": "comment", "number": 8`, `"name": "comment", "number": 8, "retired": true`))
		if err != nil {
			t.Fatal(err)
		}
		if found := Breaks(ours(t), retired); len(found) > 0 {
			t.Errorf("to retire a field is the way to remove it: %v", found)
		}
		if found := Breaks(retired, ours(t)); len(found) != 1 {
			t.Errorf("what was retired must not come back: %v", found)
		}
	})
}

func TestCamel(t *testing.T) {
	for in, want := range map[string]string{"order_number": "OrderNumber", "crm_ids": "CRMIDs", "vat_exempt": "VATExempt", "of_id": "OfID", "of": "Of"} {
		if got := Camel(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}
