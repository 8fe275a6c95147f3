package registry_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"testing"

	"syncline/schemas/registry"
)

// FuzzRegister sends any body. The answer must be JSON with a status of the
// contract, and what has been registered must be there under its id, read
// back the same, and get the same id again, also after a restart.
func FuzzRegister(f *testing.F) {
	body := func(schema string) []byte {
		b, err := json.Marshal(map[string]string{"schema": schema})
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	for _, s := range []string{
		userV1, userV2, `"int"`, `["null","string"]`, enum("E"), record(decimal(10, 2)),
		`{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}`,
		`{"type":"int","type":"int"}`, `{"type":"array","items":{"type":"array","items":"int"}}`, "",
		`[{"type":"record","name":"a.T","fields":[{"name":"n","type":"b.T"}]},{"type":"record","name":"b.T","fields":[{"name":"n","type":["null","a.T"]}]}]`,
	} {
		f.Add(body(s))
	}
	f.Add([]byte(`{"schema":"\"int\"","schemaType":"JSON","references":[{}],"id":1}`))
	f.Add(body(recorded(f, "debezium-tryton")[3].schema))
	f.Fuzz(func(t *testing.T, b []byte) {
		log := registry.NewMemoryLog()
		post := func(h *registry.Server) (int, int) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "POST", "/subjects/s/versions", bytes.NewReader(b)))
			var answer struct{ ID int }
			if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
				t.Fatalf("answer %d %q", rec.Code, rec.Body)
			}
			return rec.Code, answer.ID
		}
		// FULL and strict, so that everything there is looks at the schema.
		h := newServer(t, registry.Config{Log: log, DefaultLevel: registry.LevelFullTransitive, Policy: registry.PolicyStrict})
		mustRegister(t, h, "s", userV1)
		ask(t, h, "POST", "/compatibility/subjects/s/versions", string(b))
		if status, body := ask(t, h, "PUT", "/config/s", `{"compatibility":"NONE"}`); status != 200 {
			t.Fatal(body)
		}
		status, id := post(h)
		switch status {
		case 400, 413, 422, 501:
			return
		case 200:
		default:
			t.Fatalf("status %d", status)
		}
		_, text := ask(t, h, "GET", "/subjects/s/versions/latest/schema", "")
		if again := mustRegister(t, h, "other", text); again != id {
			t.Fatalf("%q read back and registered elsewhere has id %d, not %d", text, again, id)
		}
		if findings, err := registry.CheckRelease(text, text); err != nil {
			t.Fatalf("comparing %q with itself: %v", text, err)
		} else {
			for _, f := range findings {
				if f.Rule != registry.RuleAlias && f.Rule != registry.RuleUnion {
					t.Fatalf("%q compared with itself: %s", text, f)
				}
			}
		}
		if _, after := post(newServer(t, registry.Config{Log: log})); after != id {
			t.Fatalf("id %d became %d after a restart", id, after)
		}
	})
}
