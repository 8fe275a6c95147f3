package projection_test

import (
	"testing"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// Every form in which a connector says that it was not given a value, and texts
// that are none.
func TestPlaceholders(t *testing.T) {
	const usual = "__debezium_unavailable_value"
	bytes := `"bytes"`
	number := `{"type":"record","name":"VariableScaleDecimal","namespace":"io.debezium.data","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}`
	for _, c := range []struct {
		name, own, typ string
		data           []byte
		unavailable    bool
	}{
		{"text", "", `"string"`, counted(usual), true},
		{"text, with a connector's own", "-", `"string"`, counted(usual), true},
		{"own", "-", `"string"`, counted("-"), true},
		{"own, not configured", "", `"string"`, counted("-"), false},
		{"base64", "", `"string"`, counted("X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="), true},
		{"hexadecimal", "", `"string"`, counted("5f5f646562657a69756d5f756e617661696c61626c655f76616c7565"), true},
		{"array as JSON", "", `"string"`, counted(`["` + usual + `"]`), true},
		{"hstore as JSON", "", `"string"`, counted(`{"` + usual + `":"` + usual + `"}`), true},
		{"octets, text", "hex:ff00", bytes, counted("\xff\x00"), true},
		{"octets, base64", "hex:ff00", `"string"`, counted("/wA="), true},
		{"octets, base64 for addresses", "hex:ff00", `"string"`, counted("_wA="), true},
		{"bytes", "", bytes, counted(usual), true},
		{"fixed", "", `{"type":"fixed","name":"F","size":28}`, []byte(usual), true},
		{"number of variable scale", "", number, append(zigzag(0), counted(usual)...), true},
		{"quoted by somebody", "", `"string"`, counted("it says " + usual), false},
		{"empty", "", `"string"`, counted(""), false},
		{"longer than any form", "-", `"string"`, counted(usual + usual + usual), false},
	} {
		plan, err := projection.Compile(record(c.typ), []projection.Field{{Path: "x"}}, projection.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var out [1]change.Value
		if err := plan.WithPlaceholder(c.own).Decode(append(c.data, 0), out[:]); err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := out[0].Kind == change.Unavailable; got != c.unavailable {
			t.Errorf("%s: %v, want unavailable %v", c.name, out[0], c.unavailable)
		}
	}
}
