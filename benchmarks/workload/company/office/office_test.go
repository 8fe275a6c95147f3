package office_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"syncline/benchmarks/workload/company/office"
	"syncline/sinks/sinktest/fake"
)

func call(t *testing.T, o *office.Office, verb, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), verb, o.Address()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return resp.StatusCode, out
}

// TestWordsOfTheSystems: every system keeps books in words of its own, and counts
// what reached it.
func TestWordsOfTheSystems(t *testing.T) {
	for system, words := range map[string][5]string{
		office.CRM: {"customers", "orders", "confirm", "confirmed", "cancel"},
		office.Sub: {"subscribers", "contracts", "activate", "live", "terminate"},
		office.ERP: {"debtors", "bills", "issue", "issued", "void"},
	} {
		o, err := office.Start(system, fake.Nature{}, time.Now().UTC)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if status, made := call(t, o, "POST", "/"+words[0], `{"key":"k","code":"C#1","name":"Alba"}`); status != 201 || made["id"] != 17.0 {
			t.Errorf("%s: %d %v", system, status, made)
		}
		if status, _ := call(t, o, "POST", "/"+words[1], `{"key":"d","party":"17"}`); status != 201 {
			t.Errorf("%s: a document: %d", system, status)
		}
		if _, shown := call(t, o, "POST", "/"+words[1]+"/18/"+words[2], `{}`); shown["status"] != words[3] || shown["version"] != 2.0 {
			t.Errorf("%s: %v", system, shown)
		}
		if status, _ := call(t, o, "POST", "/"+words[1]+"/18/"+words[4], `{}`); status != 200 {
			t.Errorf("%s: ending: %d", system, status)
		}
		for query, want := range map[string]int{"key=d": 0, "key=d&ended=true": 1} {
			if _, list := call(t, o, "GET", "/"+words[1]+"?"+query, ""); len(list["items"].([]any)) != want {
				t.Errorf("%s: %s shows %v", system, query, list)
			}
		}
		if status, refused := call(t, o, "POST", "/"+words[1]+"/99/"+words[2], `{}`); status != 404 || refused["error"] == nil {
			t.Errorf("%s: a record that is not there: %d %v", system, status, refused)
		}
		if c := o.Counts(); c.Requests != 5 || c.Looks != 2 || c.Effects != 4 {
			t.Errorf("%s: %+v", system, c)
		}
	}
	if _, err := office.Start("hr", fake.Nature{}, time.Now); err == nil || !strings.Contains(err.Error(), "crm, sub or erp") {
		t.Errorf("a system that does not exist: %v", err)
	}
}

// TestPagesAreComplete: what does not fit a page is on the next one.
func TestPagesAreComplete(t *testing.T) {
	o, err := office.Start(office.ERP, fake.Nature{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for range 70 {
		o.Plant(fake.Record{Sort: fake.Customer, Key: "k", Live: true})
	}
	_, first := call(t, o, "GET", "/debtors?key=k", "")
	_, second := call(t, o, "GET", "/debtors?key=k&from=50", "")
	if len(first["items"].([]any)) != 50 || first["more"] != true || len(second["items"].([]any)) != 20 || second["more"] != false {
		t.Errorf("%d and %d items", len(first["items"].([]any)), len(second["items"].([]any)))
	}
}
