package registry_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"syncline/schemas/registry"
)

func enum(name string) string { return `{"type":"enum","name":"` + name + `","symbols":["A"]}` }

// image is everything that a registry can say about its schemas.
func image(t *testing.T, h http.Handler) map[string]string {
	t.Helper()
	get := func(path string, into any) {
		status, body := ask(t, h, "GET", path, "")
		if status != 200 || json.Unmarshal([]byte(body), into) != nil {
			t.Fatalf("GET %s: %d %s", path, status, body)
		}
	}
	var subjects []string
	get("/subjects", &subjects)
	out := map[string]string{}
	for _, s := range subjects {
		var versions []int
		get("/subjects/"+s+"/versions", &versions)
		for _, v := range versions {
			_, body := ask(t, h, "GET", fmt.Sprintf("/subjects/%s/versions/%d", s, v), "")
			out[fmt.Sprintf("%s %d", s, v)] = body
		}
		_, out["level of "+s] = ask(t, h, "GET", "/config/"+s+"?defaultToGlobal=true", "")
	}
	_, out["level"] = ask(t, h, "GET", "/config", "")
	return out
}

func TestRestartKeepsEverything(t *testing.T) {
	log := registry.NewMemoryLog()
	first := newServer(t, registry.Config{Log: log, FirstID: 101})
	if id := mustRegister(t, first, "a", userV1); id != 101 {
		t.Fatalf("the first id is %d, want 101", id)
	}
	mustRegister(t, first, "a", userV2)
	mustRegister(t, first, "b", userV2)
	for _, put := range [][2]string{{"/config", "FULL"}, {"/config/a", "NONE"}, {"/config/a", "FORWARD"}, {"/config/b", "NONE"}} {
		if status, body := ask(t, first, "PUT", put[0], `{"compatibility":"`+put[1]+`"}`); status != 200 {
			t.Fatalf("setting %v: %s", put, body)
		}
	}
	if status, body := ask(t, first, "DELETE", "/config/b", ""); status != 200 {
		t.Fatalf("taking the level of b away: %s", body)
	}

	second := newServer(t, registry.Config{Log: log, FirstID: 1})
	if diff := cmp.Diff(image(t, first), image(t, second)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if id := mustRegister(t, second, "a", userV1); id != 101 {
		t.Errorf("a known schema has id %d after a restart, want 101", id)
	}
	if id := mustRegister(t, second, "c", enum("C")); id != 103 {
		t.Errorf("the next id after a restart is %d, want 103", id)
	}
	third := newServer(t, registry.Config{Log: log, FirstID: 5000})
	if id := mustRegister(t, third, "c2", enum("D")); id != 5000 {
		t.Errorf("with a higher first id the next id is %d, want 5000", id)
	}
}

// TestConcurrentRegistrationsOnOneLog: two servers, eight clients, the same
// schemas in different order and subjects. However it goes, one id means one
// schema, one schema has one id, and both servers say the same.
func TestConcurrentRegistrationsOnOneLog(t *testing.T) {
	log := registry.NewMemoryLog()
	servers := []*registry.Server{newServer(t, registry.Config{Log: log}), newServer(t, registry.Config{Log: log})}
	const clients, schemas = 8, 12
	ids := make([]map[string]int, clients)
	var wg sync.WaitGroup
	for c := range clients {
		ids[c] = map[string]int{}
		wg.Go(func() {
			for i := range schemas {
				name := fmt.Sprintf("E%d", (i*5+c*3)%schemas)
				body := schemaBody(t, enum(name))
				status, answer := ask(t, servers[c%2], "POST", fmt.Sprintf("/subjects/%s-%d/versions", name, c%4), body)
				var got struct{ ID int }
				if status != 200 || json.Unmarshal([]byte(answer), &got) != nil {
					t.Errorf("client %d, %s: %d %s", c, name, status, answer)
					return
				}
				ids[c][name] = got.ID
			}
		})
	}
	wg.Wait()
	for c := range clients {
		if diff := cmp.Diff(ids[0], ids[c]); diff != "" {
			t.Errorf("client %d got other ids (-client 0 +client %d):\n%s", c, c, diff)
		}
	}
	seen := map[int]string{}
	for name, id := range ids[0] {
		if other, twice := seen[id]; twice {
			t.Errorf("id %d stands for %s and %s", id, name, other)
		}
		seen[id] = name
	}
	if diff := cmp.Diff(image(t, servers[0]), image(t, servers[1])); diff != "" {
		t.Errorf("the servers disagree:\n%s", diff)
	}
	if diff := cmp.Diff(image(t, servers[0]), image(t, newServer(t, registry.Config{Log: log}))); diff != "" {
		t.Errorf("a third server disagrees:\n%s", diff)
	}
}

// TestClashingClaims puts another registry's claims into the log between a
// server's look at it and its append.
func TestClashingClaims(t *testing.T) {
	log := &faultyLog{Log: registry.NewMemoryLog()}
	ours := newServer(t, registry.Config{Log: log})
	theirs := newServer(t, registry.Config{Log: log.Log})
	first := true
	log.set(func() {
		log.onAppend = func([]byte, []byte) (bool, error) {
			if first {
				first = false
				if id := mustRegister(t, theirs, "a", enum("X")); id != 1 {
					t.Errorf("their id is %d, want 1", id)
				}
			}
			return true, nil
		}
	})
	if id := mustRegister(t, ours, "b", enum("Y")); id != 2 {
		t.Errorf("our id is %d after theirs was faster, want 2", id)
	}
	// The same schema in the same subject: one id, one version.
	first = true
	log.set(func() {
		log.onAppend = func([]byte, []byte) (bool, error) {
			if first {
				first = false
				mustRegister(t, theirs, "c", enum("Z"))
			}
			return true, nil
		}
	})
	if id := mustRegister(t, ours, "c", enum("Z")); id != 3 {
		t.Errorf("the id of the schema that both registered is %d, want 3", id)
	}
	// Another schema in the same subject: the later one must be compatible.
	first = true
	log.set(func() {
		log.onAppend = func([]byte, []byte) (bool, error) {
			if first {
				first = false
				mustRegister(t, theirs, "d", userV1)
			}
			return true, nil
		}
	})
	if status, body := ask(t, ours, "POST", "/subjects/d/versions", schemaBody(t, userV3)); status != 409 {
		t.Errorf("incompatible with what was registered in between: %d %s", status, body)
	}
	// The same with schemas that have their ids already, so that only the
	// version is in dispute.
	first = true
	log.set(func() {
		log.onAppend = func([]byte, []byte) (bool, error) {
			if first {
				first = false
				mustRegister(t, theirs, "e", enum("X"))
			}
			return true, nil
		}
	})
	if status, body := ask(t, ours, "POST", "/subjects/e/versions", schemaBody(t, enum("Y"))); status != 409 {
		t.Errorf("incompatible with what was registered in between: %d %s", status, body)
	}
	if diff := cmp.Diff(image(t, theirs), image(t, ours)); diff != "" {
		t.Errorf("the servers disagree:\n%s", diff)
	}
}

// TestLevelOfAnotherServer holds at the next registration.
func TestLevelOfAnotherServer(t *testing.T) {
	log := registry.NewMemoryLog()
	ours, theirs := newServer(t, registry.Config{Log: log}), newServer(t, registry.Config{Log: log})
	mustRegister(t, ours, "a", userV1)
	for _, c := range []struct {
		level  string
		status int
	}{{"FULL", 409}, {"NONE", 200}} {
		if status, body := ask(t, theirs, "PUT", "/config", `{"compatibility":"`+c.level+`"}`); status != 200 {
			t.Fatal(body)
		}
		if status, body := ask(t, ours, "POST", "/subjects/a/versions", schemaBody(t, userV3)); status != c.status {
			t.Errorf("after their %s: %d %s", c.level, status, body)
		}
	}
}

// TestUnknownOutcomes: appends that fail and land at once, late, or never.
func TestUnknownOutcomes(t *testing.T) {
	log := &faultyLog{Log: registry.NewMemoryLog()}
	h := newServer(t, registry.Config{Log: log})
	mustRegister(t, h, "a", enum("A"))
	failing := func(lands bool, keep *[2][]byte) {
		log.set(func() {
			log.onAppend = func(key, value []byte) (bool, error) {
				if keep != nil {
					*keep = [2][]byte{key, value}
				}
				return lands, errBroken
			}
		})
	}
	refused := func(subject, schema string) {
		t.Helper()
		status, body := ask(t, h, "POST", "/subjects/"+subject+"/versions", schemaBody(t, schema))
		if status != 500 || errorCode(t, body) != 50001 {
			t.Fatalf("a failed append was answered with %d %s", status, body)
		}
	}
	works := func() { log.set(func() { log.onAppend = nil }) }

	failing(true, nil) // lands, though it failed
	refused("b", enum("B"))
	works()
	if id := mustRegister(t, h, "c", enum("C")); id != 3 {
		t.Errorf("the id after one that landed silently is %d, want 3", id)
	}
	if id := mustRegister(t, h, "b", enum("B")); id != 2 {
		t.Errorf("asking again gives id %d, want 2", id)
	}

	var late [2][]byte
	failing(false, &late) // gets lost for now
	refused("d", enum("D"))
	works()
	if id := mustRegister(t, h, "e", enum("E")); id != 4 {
		t.Errorf("the id after one that was lost is %d, want 4", id)
	}
	before := image(t, h)
	if err := log.Append(t.Context(), late[0], late[1]); err != nil { // lands now, claiming 4
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, image(t, h)); diff != "" {
		t.Errorf("a late append changed something:\n%s", diff)
	}
	if id := mustRegister(t, h, "d", enum("D")); id != 5 {
		t.Errorf("the schema whose claim was void has id %d, want 5", id)
	}
	if diff := cmp.Diff(image(t, h), image(t, newServer(t, registry.Config{Log: log}))); diff != "" {
		t.Errorf("a restart sees it otherwise:\n%s", diff)
	}
}

func TestBrokenLog(t *testing.T) {
	log := &faultyLog{Log: registry.NewMemoryLog()}
	h := newServer(t, registry.Config{Log: log})
	mustRegister(t, h, "a", userV1)
	log.set(func() { log.readErr = errBroken })
	// What an id means is certain without the log; that there is none is not.
	if status, body := ask(t, h, "GET", "/schemas/ids/1", ""); status != 200 {
		t.Errorf("a known id: %d %s", status, body)
	}
	if id := mustRegister(t, h, "a", userV1); id != 1 {
		t.Errorf("a known registration gives %d", id)
	}
	for _, c := range [][3]string{
		{"GET", "/schemas/ids/2", ""},
		{"GET", "/subjects", ""},
		{"GET", "/subjects/a/versions/latest", ""},
		{"GET", "/config", ""},
		{"POST", "/subjects/a", schemaBody(t, userV2)},
		{"POST", "/subjects/a/versions", schemaBody(t, userV2)},
		{"POST", "/compatibility/subjects/a/versions", schemaBody(t, userV2)},
		{"PUT", "/config", `{"compatibility":"FULL"}`},
	} {
		if status, body := ask(t, h, c[0], c[1], c[2]); status != 500 || errorCode(t, body) != 50001 {
			t.Errorf("%s %s: %d %s", c[0], c[1], status, body)
		}
	}
	if _, err := registry.NewServer(t.Context(), registry.Config{Log: log}); !errors.Is(err, errBroken) {
		t.Errorf("starting on a broken log: %v", err)
	}
	log.set(func() { log.readErr = nil })
	if id := mustRegister(t, h, "a", userV2); id != 2 {
		t.Errorf("after the log is back the id is %d, want 2", id)
	}
	// An acknowledged record that the log does not give back.
	log.set(func() { log.onAppend = func([]byte, []byte) (bool, error) { return false, nil } })
	if status, body := ask(t, h, "POST", "/subjects/b/versions", schemaBody(t, userV3)); status != 500 || errorCode(t, body) != 50001 || !strings.Contains(body, "is not in it") {
		t.Errorf("a swallowed record: %d %s", status, body)
	}
}

func TestForeignRecordsStopTheStart(t *testing.T) {
	for name, rec := range map[string][2]string{
		"not JSON":          {"key", "value"},
		"another registry":  {`{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}`, `{"subject":"a","version":1,"id":1,"schema":"\"int\"","deleted":false}`},
		"unknown kind":      {`{"syncline":1,"kind":"mode","subject":"a"}`, `{}`},
		"a newer format":    {`{"syncline":2,"kind":"schema","subject":"a","version":1}`, `{"id":1,"schema":"\"int\""}`},
		"id zero":           {`{"syncline":1,"kind":"schema","subject":"a","version":1}`, `{"id":0,"schema":"\"int\""}`},
		"schema is no JSON": {`{"syncline":1,"kind":"schema","subject":"a","version":1}`, `{"id":1,"schema":"{"}`},
		"level unknown":     {`{"syncline":1,"kind":"level","subject":"a"}`, `{"level":"SOME"}`},
		"value missing":     {`{"syncline":1,"kind":"level","subject":"a"}`, ``},
	} {
		log := registry.NewMemoryLog()
		if err := log.Append(t.Context(), []byte(rec[0]), []byte(rec[1])); err != nil {
			t.Fatal(err)
		}
		if _, err := registry.NewServer(t.Context(), registry.Config{Log: log}); err == nil {
			t.Errorf("%s: the server starts", name)
		}
	}
}

func TestLimitsOfTheRegistry(t *testing.T) {
	h := newServer(t, registry.Config{MaxSubjects: 2, MaxVersions: 2, MaxTextBytes: 200})
	full := func(subject, schema string) {
		t.Helper()
		status, body := ask(t, h, "POST", "/subjects/"+subject+"/versions", schemaBody(t, schema))
		if status != 507 || errorCode(t, body) != 50701 {
			t.Errorf("%s: %d %s", subject, status, body)
		}
	}
	mustRegister(t, h, "a", enum("A"))
	full("a", `{"type":"enum","name":"A","symbols":["A","`+strings.Repeat("B", 200)+`"]}`)
	mustRegister(t, h, "a", `{"type":"enum","name":"A","symbols":["A","B"]}`)
	full("a", `{"type":"enum","name":"A","symbols":["A","B","C"]}`)
	mustRegister(t, h, "b", enum("A"))
	full("c", enum("A"))
	if status, _ := ask(t, h, "GET", "/subjects/c/versions", ""); status != 404 {
		t.Errorf("the refused subject answers %d", status)
	}
}

func TestConfigIsChecked(t *testing.T) {
	log := registry.NewMemoryLog()
	for name, cfg := range map[string]registry.Config{
		"no log":         {},
		"negative id":    {Log: log, FirstID: -1},
		"unknown level":  {Log: log, DefaultLevel: "SOME"},
		"unknown policy": {Log: log, Policy: "lax"},
		"negative limit": {Log: log, MaxVersions: -1},
	} {
		if _, err := registry.NewServer(t.Context(), cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

type registration struct {
	id      int
	subject string
	schema  string
}

// recorded gives the registrations of a recorded feed, oldest first.
func recorded(t testing.TB, feed string) []registration {
	t.Helper()
	f, err := os.Open("testdata/" + feed + ".schemas.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		Schemas  map[int]json.RawMessage
		Subjects map[string][]int
	}
	if err := json.NewDecoder(zip).Decode(&content); err != nil {
		t.Fatal(err)
	}
	var out []registration
	for subject, ids := range content.Subjects {
		for _, id := range ids {
			out = append(out, registration{id, subject, string(content.Schemas[id])})
		}
	}
	slices.SortFunc(out, func(a, b registration) int {
		if a.id != b.id {
			return a.id - b.id
		}
		return strings.Compare(a.subject, b.subject)
	})
	return out
}

// TestRecordedFeeds registers what Debezium registered, in its order, and
// expects the ids that Debezium got.
func TestRecordedFeeds(t *testing.T) {
	for feed, want := range map[string]int{"debezium-tryton": 66, "debezium-tryton-2": 64} {
		t.Run(feed, func(t *testing.T) {
			h := newServer(t, registry.Config{FirstID: 101, DefaultLevel: registry.LevelBackward})
			all := recorded(t, feed)
			if len(all) != want {
				t.Fatalf("%d registrations, want %d", len(all), want)
			}
			for _, r := range all {
				if id := mustRegister(t, h, r.subject, r.schema); id != r.id {
					t.Errorf("%s got id %d, want %d", r.subject, id, r.id)
				}
			}
		})
	}
	// One after the other in one registry, as a company that goes on.
	h := newServer(t, registry.Config{})
	for _, r := range append(recorded(t, "debezium-tryton"), recorded(t, "debezium-tryton-2")...) {
		status, body := ask(t, h, "POST", "/subjects/"+r.subject+"/versions", schemaBody(t, r.schema))
		if status != 200 {
			t.Errorf("%s: %d %.300s", r.subject, status, body)
		}
	}
}
