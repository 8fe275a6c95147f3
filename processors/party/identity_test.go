package party

import (
	"regexp"
	"testing"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

func identityOf(t *testing.T, reference string, n Normal) *Identity {
	t.Helper()
	i := &Identity{
		Master: "crm", Instances: map[string]string{"crm": "crm-1", "erp": "erp-1"},
		Reference: regexp.MustCompile(reference), Normal: n,
	}
	if err := i.Prepare(); err != nil {
		t.Fatal(err)
	}
	return i
}

// Each way of writing a reference against each rule: which master's native id it
// names. What is written exactly as the rule says names what it always named.
func TestNamed(t *testing.T) {
	const numbers, words = `^CRM-([0-9]+)$`, `^CRM-([A-Z][A-Z0-9 ]*)$`
	for _, c := range []struct {
		reference string
		n         Normal
		code, id  string // "" for nobody
	}{
		{numbers, Normal{}, "CRM-5", "5"},
		{numbers, Normal{}, "crm-5", "5"},
		{numbers, Normal{}, "Crm-5", "5"},
		{numbers, Normal{}, " CRM-5\t", "5"},
		{numbers, Normal{}, "CRM-5     ", "5"},
		{numbers, Normal{}, "\u00a0crm-5\u00a0", "5"},
		{numbers, Normal{}, "CRM -5", ""},
		{numbers, Normal{}, "CRM-05", "05"},
		{numbers, Normal{}, "XCRM-5", ""},
		{numbers, Normal{}, "", ""},
		{numbers, Normal{}, "   ", ""},
		{numbers, Normal{Blanks: true}, "CRM-5 ", ""},
		{numbers, Normal{Case: CaseExact}, "crm-5", ""},
		{numbers, Normal{Case: CaseExact}, " CRM-5", "5"},
		{numbers, Normal{Pad: "0"}, "CRM-0005", "5"},
		{numbers, Normal{Pad: "0"}, "CRM-5000", "5000"},
		{numbers, Normal{Pad: "0"}, "CRM-000", "0"},
		{words, Normal{}, "CRM-ACME", "ACME"},
		{words, Normal{}, "crm-acme", "ACME"}, // in the case that the rule asks for
		{words, Normal{}, "crm-Acme", "ACME"},
		{words, Normal{Case: CaseIgnore}, "crm-Acme", "acme"},
		{`^ref:([a-z]+)$`, Normal{}, "REF:ACME", "acme"},
		{`^Ref:([A-Za-z]+)$`, Normal{}, "ref:AcMe", "AcMe"}, // the rule asks for none
		{`^CRM-(.+)$`, Normal{Prefix: "C-"}, "CRM-C-5", "5"},
		{`^CRM-(.+)$`, Normal{Prefix: "C-"}, "CRM-5", "5"},
		{`^CRM-(.+)$`, Normal{Prefix: "C-"}, "CRM-C-", "C-"},
		{`^CRM-(.+)$`, Normal{Prefix: "C-", Case: CaseIgnore, Pad: "0"}, "crm-c-005", "5"},
		{`^CRM-(.*)$`, Normal{}, "CRM-", ""},
		{`^CRM-(.+)$`, Normal{}, "CRM- 5", "5"},
		{`^CRM-(.+)$`, Normal{Case: CaseIgnore}, "CRM-Ä", "Ä"}, // ASCII alone
	} {
		id, ok := identityOf(t, c.reference, c.n).named(c.code)
		if id != c.id || ok != (c.id != "") {
			t.Errorf("%s, %+v: %q names %q, %v; want %q", c.reference, c.n, c.code, id, ok, c.id)
		}
	}
}

// The other side: the master party's own account is the one that every spelling
// of its id names, and no other system's ids are touched.
func TestAccountOfBothSides(t *testing.T) {
	for _, c := range []struct {
		n              Normal
		own, reference string
	}{
		{Normal{}, "5", "crm-5"},
		{Normal{}, "A5   ", "CRM-A5"},
		{Normal{Case: CaseIgnore}, "A5", "crm-a5"},
		{Normal{Pad: "0"}, "00005", "CRM-5"},
		{Normal{Pad: "0"}, "5", "CRM-00005"},
		{Normal{Prefix: "C-"}, "C-5", "CRM-5"},
	} {
		i := identityOf(t, `^CRM-(.+)$`, c.n)
		id, _ := i.named(c.reference)
		if i.account("crm", c.own) != canonical.EntityID("crm-1", canonical.Party, id) {
			t.Errorf("%+v: %q does not name the master %q", c.n, c.reference, c.own)
		}
		if i.account("erp", c.own) != canonical.EntityID("erp-1", canonical.Party, c.own) {
			t.Errorf("%+v: the id %q of another system is changed", c.n, c.own)
		}
	}
	i := identityOf(t, `^CRM-(.+)$`, Normal{})
	if i.account("crm", "   ") != canonical.EntityID("crm-1", canonical.Party, "   ") {
		t.Error("an id of blanks is lost")
	}
}

type sent []*change.AccountDocument

func (s *sent) Account(_ change.DocumentHead, a *change.AccountDocument) { *s = append(*s, a) }

// A master party that carries a reference, to itself or in a circle with
// another, stays its own account; a party of another system that carries several
// follows the smallest number and shows the others.
func TestReferencesThatLeadNowhere(t *testing.T) {
	identity := identityOf(t, `^CRM-([0-9]+)$`, Normal{})
	op := New(identity, state.New())
	for _, c := range []struct {
		system, id string
		codes      []string
		account    string // native id of a master party
		reference  string
		ignored    int
	}{
		{"crm", "5", []string{"CRM-5"}, "5", "", 0},
		{"crm", "5", []string{"CRM-7"}, "5", "", 0},
		{"crm", "7", []string{"CRM-5"}, "7", "", 0},
		{"erp", "5", []string{" crm-10 ", "CRM-9"}, "9", "CRM-9", 1},
		{"erp", "6", []string{"CRM-9", "crm-9"}, "9", "CRM-9", 1},
	} {
		header := change.Row{System: c.system, Entity: canonical.Party, Doc: c.id, ID: c.id}
		rows := [][]byte{change.AppendRow(nil, &header)}
		for i, code := range c.codes {
			child := change.Row{
				System: c.system, Entity: canonical.Party, Doc: c.id, Part: canonical.PartIdentifier, ID: string(rune('1' + i)),
				Since: change.Instant{Micros: int64(i + 1)}, Fields: []change.Value{change.OfString(code)},
			}
			rows = append(rows, change.AppendRow(nil, &child))
		}
		h := change.DocumentHead{System: c.system, Entity: canonical.Party, ID: c.id, Party: c.id, Version: 1}
		var out sent
		if v := op.Apply(h, change.AppendDocument(nil, h, rows), &out); v.Kind != change.Pass {
			t.Fatal(v)
		}
		got := out[len(out)-1]
		if got.Account != canonical.EntityID("crm-1", canonical.Party, c.account) || got.Link.Reference != c.reference || len(got.Link.Ignored) != c.ignored {
			t.Errorf("%s party %s with %q: account %v, link %+v", c.system, c.id, c.codes, got.Account, got.Link)
		}
	}
}
