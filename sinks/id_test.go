package sinks_test

import (
	"strings"
	"testing"

	"syncline/sinks"
)

// TestIDsStayWhatTheyAre: ids are in other people's systems. The values were made
// with another implementation of UUIDv5.
func TestIDsStayWhatTheyAre(t *testing.T) {
	customer := sinks.Wish{Target: "org-7/live", Kind: "customer.create", Lane: "account/12"}
	change, err := sinks.Wish{Target: "org-7/live", Kind: "customer.update", Lane: "account/12"}.Change(sinks.Values{"name": "Łódź Labs"}, "0/16B3748")
	if err != nil {
		t.Fatal(err)
	}
	first := customer.Create("")
	for got, want := range map[string]string{
		first:                   "a857a74c-77e2-5265-b0d5-9d71d7825be2",
		customer.Create("4711"): "6820cbab-1bfb-5b59-8f75-e8615a4ce297",
		change:                  "186f935e-be2c-565c-aded-cb04a549f261",
		sinks.Wish{Target: "org-7/live", Kind: "invoice.credit", Lane: "order/9"}.Reversal("B-1"):                                "641133de-cc90-51bd-8c48-900f01c77b9c",
		sinks.Wish{Target: "org-7/live", Kind: "invoice.create", Lane: "subscription/3", Element: "line/2"}.Recurring("2026-11"): "83ba3ee4-2a5a-5888-8bd0-031058be4350",
		sinks.VendorKey(first, "head", 0): "103dac08-f9c3-53fe-9c59-926705b5eb71",
		sinks.VendorKey(first, "head", 1): "70bc983d-5d94-5d67-8715-33088225cd11",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestIDsDiffer: whatever is part of a wish makes another id, and no two lists of
// parts can be taken for each other.
func TestIDsDiffer(t *testing.T) {
	base := sinks.Wish{Target: "a", Kind: "b", Lane: "c", Element: "d"}
	change := func(v sinks.Values, from string) string {
		id, err := base.Change(v, from)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	seen := map[string]string{}
	for what, id := range map[string]string{
		"create": base.Create(""), "create after": base.Create("x"), "reversal": base.Reversal("x"), "recurring": base.Recurring("x"),
		"to A": change(sinks.Values{"name": "A"}, "1"), "to B": change(sinks.Values{"name": "B"}, "2"), "to A again": change(sinks.Values{"name": "A"}, "3"),
		"to null": change(sinks.Values{"name": nil}, "1"), "to empty": change(sinks.Values{"name": ""}, "1"),
		"target":  sinks.Wish{Target: "ab", Kind: "", Lane: "c", Element: "d"}.Create(""),
		"lane":    sinks.Wish{Target: "a", Kind: "b", Lane: "cd", Element: ""}.Create(""),
		"element": sinks.Wish{Target: "a", Kind: "b", Lane: "c", Element: "e"}.Create(""),
	} {
		if other, ok := seen[id]; ok {
			t.Errorf("%s has the id of %s", what, other)
		}
		seen[id] = what
		if id != strings.ToLower(id) || len(id) != 36 {
			t.Errorf("%s: %s is not a lower-case UUID", what, id)
		}
	}
	if change(sinks.Values{"a": "1", "b": []any{"x"}}, "1") != change(sinks.Values{"b": []any{"x"}, "a": "1"}, "1") {
		t.Error("the order of names counts")
	}
}

// TestValuesWithSeveralSpellingsAreRefused: 1, 1.0 and 1e0 would be three wishes.
func TestValuesWithSeveralSpellingsAreRefused(t *testing.T) {
	for _, v := range []any{1, 1.5, []any{map[string]any{"qty": int64(2)}}, []string{"x"}} {
		_, err := sinks.Wish{}.Change(sinks.Values{"v": v}, "")
		if err == nil || !strings.Contains(err.Error(), "decimal text") || !strings.Contains(err.Error(), "v: ") {
			t.Errorf("%v: %v", v, err)
		}
	}
}
