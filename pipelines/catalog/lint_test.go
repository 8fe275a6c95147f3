package catalog

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// good is a small catalog without a mistake; tests spoil it line by line.
const good = `catalog: small
version: 1
systems:
  crm: {instance: crm-1, role: crm, steward: sales, changed: [changed_at]}
  erp: {instance: erp-1, role: erp, steward: finance, maps: {currency: {"1": USD}}}
identity: {master: crm, reference: "^CRM-([0-9]+)$"}
owners:
  - {entity: account, group: name, system: crm}
tables:
  - topic: cdc.crm.customers
    system: crm
    entity: party
    key: [id]
    fields: {name: name}
    milestones: {created: {snapshot: [created_at]}}
  - topic: cdc.erp.debtors
    system: erp
    entity: party
    key: [id]
    fields: {name: name}
  - topic: cdc.erp.bills
    system: erp
    entity: invoice
    key: [id]
    party: debtor
    fields:
      phase: {map: {path: state, values: {open: posted, done: paid}}}
      currency: {map: {path: currency, use: currency}}
      net: {sum_lines: true}
    milestones: {invoiced: {phases: [posted, paid]}}
  - topic: cdc.erp.bill_lines
    system: erp
    entity: invoice
    part: line
    key: [id]
    parent: bill
    fields: {quantity: quantity, unit_price: {coalesce: [price, list_price]}}
`

func TestGoodCatalog(t *testing.T) {
	if _, err := Parse("good.yaml", []byte(good)); err != nil {
		t.Fatal(err)
	}
}

// Every rule: what is spoiled, where the linter sees it, and what it says.
func TestLintRules(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		line           int
		path, message  string
	}{
		{"no name", "catalog: small", "catalog: \"\"", 1, "catalog", "has no name"},
		{"no version", "version: 1\n", "version: 0\n", 2, "version", "no version 0"},
		{"system's name", "  erp: {", "  erp.de: {instance: erp-2, role: erp, steward: finance}\n  erp: {", 4, "systems", `cannot be named "erp.de"`},
		{"instance's name", "instance: erp-1", "instance: erp/1", 5, "systems.erp.instance", `cannot be named "erp/1"`},
		{"epochs in time", "steward: finance", "steward: finance, epochs: [{epoch: 1, since: 2026-02-01T00:00:00Z}, {epoch: 2, since: 2026-01-01T00:00:00Z}]", 5, "systems.erp.epochs[1].since", "is not after the epoch before"},
		{"owner without rows", "group: name, system: crm", "group: name, system: crm}\n  - {entity: invoice, group: all, system: crm", 9, "owners[1].system", "system crm has no table for invoice"},
		{"owner without group", "group: name, ", "", 8, "owners[0]", "group is missing"},
		{"topic's name", "topic: cdc.erp.debtors", "topic: cdc/erp/debtors", 16, "tables[1].topic", `Kafka has no topic "cdc/erp/debtors"`},
		{"document without party", "    party: debtor\n", "", 21, "tables[2]", "party is missing"},
		{"party of a party", "    fields: {name: name}\n  - topic: cdc.erp.bills", "    party: id\n    fields: {name: name}\n  - topic: cdc.erp.bills", 20, "tables[1].party", "party has no party"},
		{"words of a column", "phase: {map: {path: state, values: {open: posted, done: paid}}}", "phase: state", 27, "tables[2].fields.phase", "a column's own words mean nothing here"},
		{"constant word", "phase: {map: {path: state, values: {open: posted, done: paid}}}", "phase: {constant: done}", 27, "tables[2].fields.phase", `no phase "done"`},
		{"milestone's header", "fields: {quantity: quantity", "milestones: {invoiced: {phases: [posted]}}\n    fields: {quantity: quantity", 37, "tables[3].milestones.invoiced", "only the header of invoice is invoiced"},
		{"milestone without phases", "invoiced: {phases: [posted, paid]}", "invoiced: {}", 30, "tables[2].milestones.invoiced", "every image shows it"},
		{"phases of created", "created: {snapshot: [created_at]}", "created: {phases: [posted]}", 15, "tables[0].milestones.created", "created in whatever phase"},
		{"key's column", "key: [id]\n    party", "key: [\"\"]\n    party", 24, "tables[2].key[0]", "empty column name"},
		{"role", "role: erp", "role: bank", 5, "systems.erp.role", `no role "bank"`},
		{"rounding's mode", "role: erp,", "role: erp, rounding: {mode: up},", 5, "systems.erp.rounding.mode", `no rounding "up"`},
		{"rounding's unit", "role: erp,", "role: erp, rounding: {mode: half_up, per: bill},", 5, "systems.erp.rounding.per", `per "bill"`},
		{"instance missing", "instance: erp-1, ", "", 5, "systems.erp", "instance is missing"},
		{"instance twice", "instance: erp-1", "instance: crm-1", 5, "systems.erp.instance", "also that of system crm"},
		{"steward", ", steward: finance", "", 5, "systems.erp", "steward is missing"},
		{"epoch order", "steward: finance", "steward: finance, epochs: [{epoch: 2, since: 2026-01-01T00:00:00Z}, {epoch: 1, since: 2026-02-01T00:00:00Z}]", 5, "systems.erp.epochs[1]", "does not rise"},
		{"epoch time", "steward: finance", "steward: finance, epochs: [{epoch: 1, since: yesterday}]", 5, "systems.erp.epochs[0].since", "is no time"},
		{"unused map", "use: currency", "values: {\"1\": USD}", 5, "systems.erp.maps.currency", "no mapping uses"},
		{"master", "master: crm", "master: sap", 6, "identity.master", `no system "sap"`},
		{"master without parties", "topic: cdc.crm.customers\n    system: crm", "topic: cdc.crm.customers\n    system: erp\n    prefix: \"x:\"", 6, "identity.master", "no table"},
		{"deletes", "    key: [id]\n    party: debtor", "    deletes: never\n    key: [id]\n    party: debtor", 24, "tables[2].deletes", `no way "never"`},
		{"blanks", `identity: {master: crm, `, `identity: {normalise: {blanks: trim}, master: crm, `, 6, "identity.normalise.blanks", `no way "trim"`},
		{"case", `identity: {master: crm, `, `identity: {normalise: {case: fold}, master: crm, `, 6, "identity.normalise.case", `no way "fold"`},
		{"padding", `identity: {master: crm, `, `identity: {normalise: {pad: "00"}, master: crm, `, 6, "identity.normalise.pad", `"00" is more than one character`},
		{"reference syntax", `"^CRM-([0-9]+)$"`, `"^CRM-([0-9]+$"`, 6, "identity.reference", "missing closing"},
		{"reference groups", `"^CRM-([0-9]+)$"`, `"^CRM-[0-9]+$"`, 6, "identity.reference", "0 groups"},
		{"reference anchors", `"^CRM-([0-9]+)$"`, `"CRM-([0-9]+)"`, 6, "identity.reference", "whole identifier"},
		{"owner's system", "group: name, system: crm", "group: name, system: sap", 8, "owners[0].system", `no system "sap"`},
		{"owner's entity", "entity: account, group", "entity: acount, group", 8, "owners[0].entity", `no canonical entity "acount"`},
		{"two owners", "tables:\n", "  - {entity: account, group: name, system: erp}\ntables:\n", 9, "owners[1]", "owned by crm and by erp"},
		{"table's system", "system: crm\n    entity: party", "system: sap\n    entity: party", 11, "tables[0].system", `no system "sap"`},
		{"topic missing", "topic: cdc.erp.debtors\n    system: erp", "system: erp", 16, "tables[1]", "topic is missing"},
		{"topic twice", "topic: cdc.erp.debtors", "topic: cdc.crm.customers", 16, "tables[1].topic", "mapped twice"},
		{"key", "key: [id]\n    party", "key: []\n    party", 21, "tables[2]", "key is missing"},
		{"entity", "entity: invoice\n    key: [id]\n    party", "entity: bill\n    key: [id]\n    party", 23, "tables[2].entity", `no canonical entity "bill"`},
		{"part", "part: line", "part: row", 34, "tables[3].part", `no part "row"`},
		{"parent missing", "    parent: bill\n", "", 31, "tables[3]", "parent is missing"},
		{"parent of a header", "party: debtor", "parent: debtor", 25, "tables[2].parent", "a header has no parent"},
		{"party of a part", "parent: bill", "parent: bill\n    party: debtor", 37, "tables[3].party", "only a header"},
		{"field", "{quantity: quantity", "{amount: quantity", 37, "tables[3].fields.amount", `no field "amount"`},
		{"needed field", "      currency: {map: {path: currency, use: currency}}\n", "", 27, "tables[2].fields", "field currency of invoice is needed"},
		{"two functions", "net: {sum_lines: true}", "net: {sum_lines: true, path: net}", 29, "tables[2].fields.net", "2 mapping functions"},
		{"no function", "net: {sum_lines: true}", "net: {default: \"1\"}", 29, "tables[2].fields.net", "0 mapping functions"},
		{"sum into text", "net: {sum_lines: true}", "number: {sum_lines: true}", 29, "tables[2].fields.number", "sum_lines gives a number"},
		{"ref into number", "quantity: quantity", "quantity: {ref: {path: quantity}}", 37, "tables[3].fields.quantity", "ref gives a native id"},
		{"ref to nothing", "{quantity: quantity", "{product: {ref: {path: article}}, quantity: quantity", 37, "tables[3].fields.product", "no table for product"},
		{"ref's prefix", "{quantity: quantity", "{credits: {ref: {path: \"\"}}, quantity: quantity", 37, "tables[3].fields.credits", "path is missing"},
		{"map not there", "use: currency", "use: money", 28, "tables[2].fields.currency.map.use", `no map "money"`},
		{"map twice", "{path: state, values: {open: posted, done: paid}}", "{path: state, use: currency, values: {open: posted}}", 27, "tables[2].fields.phase", "values here or uses a named one"},
		{"phase", "done: paid", "done: settled", 27, "tables[2].fields.phase", `no phase "settled"`},
		{"milestone", "invoiced: {phases", "billed: {phases", 30, "tables[2].milestones.billed", `no milestone "billed"`},
		{"milestone's phase", "phases: [posted, paid]", "phases: [sent]", 30, "tables[2].milestones.invoiced", `no phase "sent"`},
		{"constant's kind", "net: {sum_lines: true}", "net: {constant: much}", 29, "tables[2].fields.net", "no decimal number"},
		{"two headers", "topic: cdc.erp.bill_lines\n    system: erp\n    entity: invoice\n    part: line\n    key: [id]\n    parent: bill\n    fields: {quantity: quantity, unit_price: {coalesce: [price, list_price]}}", "topic: cdc.erp.notes\n    system: erp\n    entity: party\n    key: [id]\n    fields: {name: name}", 31, "tables[3]", "two tables of erp"},
		{"two tables of a part", "    fields: {quantity: quantity, unit_price: {coalesce: [price, list_price]}}\n", "    fields: {quantity: quantity}\n  - {topic: cdc.erp.more_lines, system: erp, entity: invoice, part: line, key: [id], parent: bill, fields: {quantity: quantity}}\n", 38, "tables[4]", "are the line of invoice"},
		{"prefixes alike", "    fields: {quantity: quantity, unit_price: {coalesce: [price, list_price]}}\n", "    prefix: \"a:\"\n    fields: {quantity: quantity}\n  - {topic: cdc.erp.more_lines, system: erp, entity: invoice, part: line, prefix: \"a:b:\", key: [id], parent: bill, fields: {quantity: quantity}}\n", 39, "tables[4].prefix", `"a:" and "a:b:" begin alike`},
		{"part without header", "system: erp\n    entity: invoice\n    part: line", "system: crm\n    entity: invoice\n    part: line", 31, "tables[3]", "no table for the header"},
		{"time without unit", "net: {sum_lines: true}", "invoice_date: {time: {path: issued}}", 29, "tables[2].fields.invoice_date", "what its numbers count"},
		{"time's unit", "net: {sum_lines: true}", "invoice_date: {time: {path: issued, unit: h}}", 29, "tables[2].fields.invoice_date", `no unit "h"`},
		{"time into money", "net: {sum_lines: true}", "net: {time: {path: issued, unit: s}}", 29, "tables[2].fields.net", "time gives a date"},
		{"time column's unit", "created: {snapshot: [created_at]}", "created: {snapshot: [{time: {path: created_at, unit: weeks}}]}", 15, "tables[0].milestones.created.snapshot[0]", `no unit "weeks"`},
		{"time column's name", "changed: [changed_at]", `changed: [""]`, 4, "systems.crm.changed[0]", "empty column"},
		{"gone, not mapped", "party: debtor", "party: debtor\n    gone: [colour]", 26, "tables[2].gone[0]", `no mapping uses column "colour"`},
		{"gone key", "party: debtor", "party: debtor\n    gone: [id]", 26, "tables[2].gone[0]", "no row can be told"},
		{"empty column", "coalesce: [price, list_price]", "coalesce: [price, \"\"]", 37, "tables[3].fields.unit_price", "empty column"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(good, c.from) == 0 {
				t.Fatalf("%q is not in the catalog", c.from)
			}
			_, err := Parse("bad.yaml", []byte(strings.Replace(good, c.from, c.to, 1)))
			problems, ok := errors.AsType[Problems](err)
			if !ok {
				t.Fatalf("no problem found: %v", err)
			}
			for _, p := range problems {
				if p.Path == c.path && strings.Contains(p.Message, c.message) {
					if p.Line != c.line {
						t.Errorf("line %d, want %d: %v", p.Line, c.line, p)
					}
					if p.File != "bad.yaml" || p.Fix == "" || !strings.HasPrefix(p.Error(), fmt.Sprintf("bad.yaml:%d:", c.line)) {
						t.Errorf("file or fix is missing: %v", p)
					}
					return
				}
			}
			t.Errorf("want %s: %s, got:\n%v", c.path, c.message, err)
		})
	}
}

func TestATopicOfOurOwn(t *testing.T) {
	c, err := Parse("bad.yaml", []byte(strings.Replace(good, "topic: cdc.erp.debtors", "topic: canonical.party", 1)))
	if err != nil {
		t.Fatal(err)
	}
	got := c.Owned(func(topic string) bool { return topic == "canonical.party" })
	if len(got) != 1 || got[0].Line != 16 || got[0].Path != "tables[1].topic" || got[0].Fix == "" || !strings.Contains(got[0].Message, "write canonical.party themselves") {
		t.Errorf("got %v", got)
	}
}
