package registry_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"syncline/schemas/registry"
)

// TestContract walks through the API by plain HTTP, one request after another
// on one registry.
func TestContract(t *testing.T) {
	h := newServer(t, registry.Config{})
	v1, v2, v3 := schemaBody(t, userV1), schemaBody(t, userV2), schemaBody(t, userV3)
	quoted := strings.TrimSuffix(strings.TrimPrefix(v1, `{"schema":`), "}")
	steps := []struct {
		name, method, path, body string
		status                   int
		answer                   string // the whole body, or "" with code
		code                     int
	}{
		{name: "root", method: "GET", path: "/", status: 200, answer: `{}`},
		{name: "types", method: "GET", path: "/schemas/types", status: 200, answer: `["AVRO"]`},
		{name: "mode", method: "GET", path: "/mode", status: 200, answer: `{"mode":"READWRITE"}`},
		{name: "contexts", method: "GET", path: "/contexts", status: 200, answer: `["."]`},
		{name: "no subject mode", method: "GET", path: "/mode/a", status: 404, code: 40409},
		{name: "subject mode by default", method: "GET", path: "/mode/a?defaultToGlobal=true", status: 200, answer: `{"mode":"READWRITE"}`},
		{name: "no subjects", method: "GET", path: "/subjects", status: 200, answer: `[]`},
		{name: "unknown subject", method: "GET", path: "/subjects/a/versions", status: 404, code: 40401},
		{name: "unknown subject, version", method: "GET", path: "/subjects/a/versions/1", status: 404, code: 40401},
		{name: "unknown subject, lookup", method: "POST", path: "/subjects/a", body: v1, status: 404, code: 40401},
		{name: "unknown subject, check a version", method: "POST", path: "/compatibility/subjects/a/versions/latest", body: v1, status: 404, code: 40401},
		{name: "unknown subject, check", method: "POST", path: "/compatibility/subjects/a/versions", body: v1, status: 200, answer: `{"is_compatible":true}`},
		{name: "unknown id", method: "GET", path: "/schemas/ids/1", status: 404, code: 40403},
		{name: "unknown id, text", method: "GET", path: "/schemas/ids/1/schema", status: 404, code: 40403},
		{name: "unknown id, versions", method: "GET", path: "/schemas/ids/1/versions", status: 404, code: 40403},
		{name: "id is no number", method: "GET", path: "/schemas/ids/x", status: 400, code: 400},

		{name: "register", method: "POST", path: "/subjects/a/versions", body: v1, status: 200, answer: `{"id":1}`},
		{name: "register again", method: "POST", path: "/subjects/a/versions?normalize=false", body: v1, status: 200, answer: `{"id":1}`},
		{name: "same schema, other subject", method: "POST", path: "/subjects/b/versions", body: v1, status: 200, answer: `{"id":1}`},
		{
			name: "same but for order and spaces", method: "POST", path: "/subjects/a/versions", status: 200, answer: `{"id":1}`,
			body: schemaBody(t, `{ "namespace":"t", "name":"User","type":"record", "fields":[{"type":"long","name":"\u0069d"}] }`),
		},
		{name: "second version", method: "POST", path: "/subjects/a/versions", body: v2, status: 200, answer: `{"id":2}`},
		{name: "incompatible", method: "POST", path: "/subjects/a/versions", body: v3, status: 409, code: 409},
		{name: "versions", method: "GET", path: "/subjects/a/versions", status: 200, answer: `[1,2]`},
		{name: "page of versions", method: "GET", path: "/subjects/a/versions?offset=1&limit=1", status: 200, answer: `[2]`},
		{name: "subjects", method: "GET", path: "/subjects?deleted=true", status: 200, answer: `["a","b"]`},
		{name: "subjects by prefix", method: "GET", path: "/subjects?subjectPrefix=b", status: 200, answer: `["b"]`},
		{name: "version", method: "GET", path: "/subjects/a/versions/1", status: 200, answer: `{"subject":"a","version":1,"id":1,"schema":` + quoted + `}`},
		{name: "version text", method: "GET", path: "/subjects/a/versions/1/schema", status: 200, answer: userV1},
		{name: "latest text", method: "GET", path: "/subjects/a/versions/latest/schema", status: 200, answer: userV2},
		{name: "minus one is latest", method: "GET", path: "/subjects/a/versions/-1/schema", status: 200, answer: userV2},
		{name: "referenced by none", method: "GET", path: "/subjects/a/versions/1/referencedby", status: 200, answer: `[]`},
		{name: "version too high", method: "GET", path: "/subjects/a/versions/3", status: 404, code: 40402},
		{name: "version zero", method: "GET", path: "/subjects/a/versions/0", status: 422, code: 42202},
		{name: "version is a word", method: "GET", path: "/subjects/a/versions/first", status: 422, code: 42202},
		{name: "by id", method: "GET", path: "/schemas/ids/1", status: 200, answer: `{"schema":` + quoted + `}`},
		{name: "by id as the Java client asks", method: "GET", path: "/schemas/ids/1?fetchMaxId=false&subject=a", status: 200, answer: `{"schema":` + quoted + `}`},
		{name: "by id with the largest", method: "GET", path: "/schemas/ids/1?fetchMaxId=true", status: 200, answer: `{"schema":` + quoted + `,"maxId":2}`},
		{name: "text by id", method: "GET", path: "/schemas/ids/2/schema", status: 200, answer: userV2},
		{name: "subjects of an id", method: "GET", path: "/schemas/ids/1/subjects", status: 200, answer: `["a","b"]`},
		{name: "versions of an id", method: "GET", path: "/schemas/ids/1/versions", status: 200, answer: `[{"subject":"a","version":1},{"subject":"b","version":1}]`},
		{name: "look up", method: "POST", path: "/subjects/a?deleted=false&normalize=false", body: v1, status: 200, answer: `{"subject":"a","version":1,"id":1,"schema":` + quoted + `}`},
		{name: "look up what is elsewhere", method: "POST", path: "/subjects/b", body: v2, status: 404, code: 40403},

		{name: "check a version", method: "POST", path: "/compatibility/subjects/a/versions/1", body: v2, status: 200, answer: `{"is_compatible":true}`},
		{name: "check the latest", method: "POST", path: "/compatibility/subjects/a/versions/latest", body: v3, status: 200, answer: `{"is_compatible":false}`},
		{name: "check, all is well, verbose", method: "POST", path: "/compatibility/subjects/a/versions?verbose=true", body: v2, status: 200, answer: `{"is_compatible":true,"messages":[]}`},
		{
			name: "check, with reasons", method: "POST", path: "/compatibility/subjects/a/versions/1?verbose=true", body: v3, status: 200,
			answer: `{"is_compatible":false,"messages":["the new schema cannot read data of version 1: at age: reader field has no default and is missing from writer (reader int)"]}`,
		},
		{name: "check a version too high", method: "POST", path: "/compatibility/subjects/a/versions/9", body: v3, status: 404, code: 40402},

		{name: "global level", method: "GET", path: "/config", status: 200, answer: `{"compatibilityLevel":"BACKWARD"}`},
		{name: "no own level", method: "GET", path: "/config/a", status: 404, code: 40408},
		{name: "level by default", method: "GET", path: "/config/a?defaultToGlobal=true", status: 200, answer: `{"compatibilityLevel":"BACKWARD"}`},
		{name: "wrong level", method: "PUT", path: "/config", body: `{"compatibility":"SIDEWAYS"}`, status: 422, code: 42203},
		{name: "no level", method: "PUT", path: "/config", body: `{}`, status: 422, code: 42203},
		{name: "set global level", method: "PUT", path: "/config", body: `{"compatibility":"full"}`, status: 200, answer: `{"compatibility":"FULL"}`},
		{name: "set own level", method: "PUT", path: "/config/a", body: `{"compatibility":"NONE"}`, status: 200, answer: `{"compatibility":"NONE"}`},
		{name: "own level", method: "GET", path: "/config/a", status: 200, answer: `{"compatibilityLevel":"NONE"}`},
		{name: "the level works", method: "POST", path: "/subjects/a/versions", body: v3, status: 200, answer: `{"id":3}`},
		{name: "take own level away", method: "DELETE", path: "/config/a", status: 200, answer: `{"compatibility":"NONE","compatibilityLevel":"NONE"}`},
		{name: "it is away", method: "DELETE", path: "/config/a", status: 404, code: 40408},
		{name: "the global one holds", method: "GET", path: "/config/a?defaultToGlobal=true", status: 200, answer: `{"compatibilityLevel":"FULL"}`},
		{name: "take the global one away", method: "DELETE", path: "/config", status: 200, answer: `{"compatibility":"FULL","compatibilityLevel":"FULL"}`},
		{name: "the default holds", method: "GET", path: "/config", status: 200, answer: `{"compatibilityLevel":"BACKWARD"}`},

		{name: "subject with a slash and a hyphen", method: "POST", path: "/subjects/x%2Fy-value/versions", body: v1, status: 200, answer: `{"id":1}`},
		{name: "and back", method: "GET", path: "/subjects/x%2Fy-value/versions", status: 200, answer: `[1]`},
		{name: "a primitive", method: "POST", path: "/subjects/k/versions", body: schemaBody(t, `"string"`), status: 200, answer: `{"id":4}`},
		{name: "nothing there", method: "GET", path: "/nowhere", status: 404, code: 404},
	}
	for _, step := range steps {
		status, body := ask(t, h, step.method, step.path, step.body)
		if status != step.status {
			t.Errorf("%s: status %d, want %d: %s", step.name, status, step.status, body)
			continue
		}
		if step.code != 0 {
			if got := errorCode(t, body); got != step.code {
				t.Errorf("%s: code %d, want %d: %s", step.name, got, step.code, body)
			}
		} else if diff := cmp.Diff(step.answer, body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestNotSupported(t *testing.T) {
	h := newServer(t, registry.Config{})
	mustRegister(t, h, "a", userV1)
	with := func(member string) string {
		return strings.TrimSuffix(schemaBody(t, userV2), "}") + "," + member + "}"
	}
	for _, c := range []struct{ name, method, path, body string }{
		{"delete subject", "DELETE", "/subjects/a", ""},
		{"delete subject for good", "DELETE", "/subjects/a?permanent=true", ""},
		{"delete version", "DELETE", "/subjects/a/versions/1", ""},
		{"set mode", "PUT", "/mode", `{"mode":"READONLY"}`},
		{"set subject mode", "PUT", "/mode/a", `{"mode":"IMPORT"}`},
		{"context in the subject", "POST", "/subjects/:.other:a/versions", schemaBody(t, userV2)},
		{"context in the prefix", "GET", "/subjects?subjectPrefix=:.other:", ""},
		{"context as a hint", "GET", "/schemas/ids/1?subject=:.other:a", ""},
		{"all schemas", "GET", "/schemas", ""},
		{"protobuf", "POST", "/subjects/a/versions", with(`"schemaType":"PROTOBUF"`)},
		{"json schema", "POST", "/subjects/a", with(`"schemaType":"JSON"`)},
		{"references", "POST", "/subjects/a/versions", with(`"references":[{"name":"x","subject":"b","version":1}]`)},
		{"references in a check", "POST", "/compatibility/subjects/a/versions/1", with(`"references":[{"name":"x","subject":"b","version":1}]`)},
		{"own id", "POST", "/subjects/a/versions", with(`"id":7`)},
		{"own version", "POST", "/subjects/a/versions", with(`"version":2`)},
		{"metadata", "POST", "/subjects/a/versions", with(`"metadata":{"properties":{"owner":"me"}}`)},
		{"rules", "POST", "/subjects/a/versions", with(`"ruleSet":{"domainRules":[{}]}`)},
		{"normalise", "POST", "/subjects/a/versions?normalize=true", schemaBody(t, userV2)},
		{"format", "GET", "/schemas/ids/1?format=resolved", ""},
		{"unknown parameter", "GET", "/subjects/a/versions/1?findTags=true", ""},
		{"alias in the config", "PUT", "/config/a", `{"compatibility":"FULL","alias":"b"}`},
	} {
		status, body := ask(t, h, c.method, c.path, c.body)
		if status != 501 || errorCode(t, body) != 50101 || !strings.Contains(body, "not supported") {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
	}
	if _, body := ask(t, h, "GET", "/subjects/a/versions", ""); body != "[1]" {
		t.Errorf("a refused request left something behind: versions %s", body)
	}
	// What clients send when they mean nothing by it.
	status, body := ask(t, h, "POST", "/subjects/a/versions",
		with(`"schemaType":"AVRO","references":[],"metadata":null,"ruleSet":null,"id":-1,"version":0`))
	if status != 200 {
		t.Errorf("empty members: %d %s", status, body)
	}
}

func TestBadRequests(t *testing.T) {
	h := newServer(t, registry.Config{})
	field := func(n int) string {
		return `{"type":"record","name":"R","fields":[` + strings.TrimSuffix(strings.Repeat(`{"name":"#","type":"int"},`, n), ",") + `]}`
	}
	number := func(s string) string { // gives each # another number
		var out strings.Builder
		for i, part := range strings.Split(s, "#") {
			if i > 0 {
				out.WriteString("f" + strings.Repeat("x", i/500) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)))
			}
			out.WriteString(part)
		}
		return out.String()
	}
	arrays := func(n int) string {
		return strings.Repeat(`{"type":"array","items":`, n) + `"int"` + strings.Repeat("}", n)
	}
	// Types as a chain of references: little nesting in the text, much in fact.
	chain := func(n int) string {
		var out strings.Builder
		out.WriteString(`{"type":"record","name":"Root","fields":[`)
		for i := range n {
			next := `"int"`
			if i > 0 {
				next = `"` + name(i-1) + `"`
			}
			out.WriteString(`{"name":"` + name(i) + `","type":{"type":"record","name":"` + name(i) + `","fields":[{"name":"n","type":` + next + `}]}},`)
		}
		return strings.TrimSuffix(out.String(), ",") + "]}"
	}
	ring := func(n int, namespace func(int) string, short func(int) string) string {
		full := func(i int) string { return namespace(i) + "." + short(i) }
		var out strings.Builder
		out.WriteString("[")
		for i := range n {
			out.WriteString(`{"type":"record","name":"` + full(i) + `","fields":[{"name":"n","type":["null","` + full((i+1)%n) + `"]}]},`)
		}
		return strings.TrimSuffix(out.String(), ",") + "]"
	}
	same := func(int) string { return "same" }
	for _, c := range []struct {
		name, schema string
		code         int // 0: accepted
	}{
		{"empty", "", 42201},
		{"not JSON", "{", 42201},
		{"two values", `"int" "int"`, 42201},
		{"unknown type", `"integer"`, 42201},
		{"repeated key", `{"type":"int","type":"string"}`, 42201},
		{"default of the wrong type", `{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}`, 42201},
		{"most fields", number(field(2000)), 0},
		{"too many fields", number(field(2001)), 42201},
		{"deepest", arrays(31), 0},
		{"too deep", arrays(32), 42201},
		{"far too deep", arrays(5000), 42201},
		{"JSON far too deep", `{"type":"int","x":` + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000) + "}", 42201},
		{"deepest chain", chain(30), 0},
		{"chain too deep", chain(31), 42201},
		{"ring", ring(8, same, name), 0},
		{"ring too large", ring(65, same, name), 42201},
		{"ring of one short name", ring(8, name, same), 42201},
		{"longest name", `{"type":"enum","name":"` + strings.Repeat("n", 255) + `","symbols":["A"]}`, 0},
		{"name too long", `{"type":"enum","name":"` + strings.Repeat("n", 256) + `","symbols":["A"]}`, 42201},
		{"field name too long", `{"type":"record","name":"R","fields":[{"name":"` + strings.Repeat("n", 256) + `","type":"int"}]}`, 42201},
		{"largest text", `{"type":"int","doc":"` + strings.Repeat("d", 256<<10-23) + `"}`, 0},
		{"text too large", `{"type":"int","doc":"` + strings.Repeat("d", 256<<10-22) + `"}`, 42201},
		{"largest text, all escaped", `{"type":"int","doc":"` + strings.Repeat(`\"`, (256<<10-24)/2) + `"}`, 0},
	} {
		status, body := ask(t, h, "POST", "/subjects/"+strings.ReplaceAll(c.name, " ", "-")+"/versions", schemaBody(t, c.schema))
		switch {
		case c.code == 0 && status != 200:
			t.Errorf("%s: %d %.200s", c.name, status, body)
		case c.code != 0 && (status != c.code/100 || errorCode(t, body) != c.code):
			t.Errorf("%s: %d %.200s, want code %d", c.name, status, body, c.code)
		}
		if len(body) > 2000 {
			t.Errorf("%s: an answer of %d bytes", c.name, len(body))
		}
	}
	for _, c := range []struct {
		name, path, body string
		code             int
	}{
		{"body is no JSON", "/subjects/a/versions", "schema", 400},
		{"body is null", "/subjects/a/versions", "null", 400},
		{"body is a list", "/subjects/a/versions", "[]", 400},
		{"body and more", "/subjects/a/versions", "{}{}", 400},
		{"body without schema", "/subjects/a/versions", "{}", 42201},
		{"schema is an object", "/subjects/a/versions", `{"schema":{"type":"int"}}`, 42201},
		{"body too large", "/subjects/a/versions", `{"schema":"` + strings.Repeat(" ", 1<<20) + `"}`, 413},
		{"subject too long", "/subjects/" + strings.Repeat("s", 513) + "/versions", `{}`, 42208},
		{"control character", "/subjects/a%00b/versions", `{}`, 42208},
		{"reserved", "/subjects/__GLOBAL/versions", `{}`, 42208},
		{"broken query", "/subjects/a/versions?%zz", `{}`, 400},
		{"verbose is no boolean", "/compatibility/subjects/a/versions?verbose=much", schemaBody(t, userV1), 400},
	} {
		status, body := ask(t, h, "POST", c.path, c.body)
		if got := errorCode(t, body); got != c.code || (c.code < 1000 && status != c.code) || (c.code > 1000 && status != c.code/100) {
			t.Errorf("%s: %d %s, want code %d", c.name, status, body, c.code)
		}
	}
}

func name(i int) string { return "T" + string(rune('a'+i%26)) + string(rune('a'+i/26)) }

func TestContentTypes(t *testing.T) {
	h := newServer(t, registry.Config{})
	for _, c := range []struct {
		sent, accept string
		status       int
		answered     string
	}{
		{"application/vnd.schemaregistry.v1+json", "", 200, "application/vnd.schemaregistry.v1+json"},
		{"application/json; charset=utf-8", "application/json", 200, "application/json"},
		{"", "*/*", 200, "application/vnd.schemaregistry.v1+json"},
		{"application/octet-stream", "application/vnd.schemaregistry.v1+json, application/json", 200, "application/vnd.schemaregistry.v1+json"},
		{"application/x-www-form-urlencoded", "", 415, "application/vnd.schemaregistry.v1+json"},
	} {
		req := httptest.NewRequestWithContext(t.Context(), "POST", "/subjects/a/versions", strings.NewReader(schemaBody(t, userV1)))
		if c.sent != "" {
			req.Header.Set("Content-Type", c.sent)
		}
		if c.accept != "" {
			req.Header.Set("Accept", c.accept)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != c.status || rec.Header().Get("Content-Type") != c.answered {
			t.Errorf("sent %q, accepting %q: %d %s", c.sent, c.accept, rec.Code, rec.Header().Get("Content-Type"))
		}
	}
}
