package oracle

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// truthTolerance is how far the scenario driver's clock, read after each call
// returned, may be from the commit.
const truthTolerance = 2 * time.Second

// maxTruthFile bounds a truth file.
const maxTruthFile = 64 << 20

// truthEvent is one step of the scenario that played the recorded company.
type truthEvent struct {
	Kind     string      `json:"kind"`
	Time     float64     `json:"t"` // seconds since 1970
	Deal     int         `json:"deal"`
	CRMParty json.Number `json:"crm_party"`
	Opp      json.Number `json:"opp"`
	Sale     json.Number `json:"sale"`
	Sub      json.Number `json:"sub"`
	Invoice  json.Number `json:"invoice"`
	Number   string      `json:"number"`
	Amount   string      `json:"amount"`
	Untaxed  string      `json:"untaxed"`
	Tax      string      `json:"tax"`
	Total    string      `json:"total"`
	Name     string      `json:"name"`
	System   string      `json:"system"`
	Party    json.Number `json:"party"`
	ERPParty json.Number `json:"erp_party"`
	SubParty json.Number `json:"subs_party"`
}

// truthDeal is what the scenario did to one deal.
type truthDeal struct {
	file        string
	party       string
	opportunity string
	rows        map[string]string // view → native id
	numbers     map[string]string // column of deals → number
	money       map[string]map[string]string
	times       map[string]float64 // column of deals → seconds
	paid        *big.Rat
	payments    int
	credit      string   // native id of the credit note
	customers   []string // "system/id" of the parties made for it
	renamed     string
	reborn      bool // times of the opportunity are not known
	lost        bool
}

// TruthCheck is the outcome of CheckTruthFiles.
type TruthCheck struct {
	Deals, Won, Invoices, Payments, Times int
	// Discounted deals have the amount of their order, which is not the one
	// they were created with.
	Discounted int
	// Excepted says what was not compared, or otherwise than the truth file
	// has it, and why.
	Excepted    []string
	Differences []Difference
}

// CheckTruthFiles compares the expected rows with what the scenario knows it
// did: numbers, amounts and stage of each deal of the truth files, its account,
// and every time within two seconds. What was repaired by hand after the
// scenario (repairs.txt) and documents of parties that were never linked are
// excepted and listed.
func CheckTruthFiles(dir string, e Expected) (TruthCheck, error) {
	fold, err := foldRecording(dir, 1)
	if err != nil {
		return TruthCheck{}, fmt.Errorf("folding %s: %w", dir, err)
	}
	return checkTruthFiles(dir, fold, e)
}

func checkTruthFiles(dir string, fold *folded, e Expected) (TruthCheck, error) {
	files, err := filepath.Glob(filepath.Join(dir, "truth-*.json"))
	if err != nil {
		return TruthCheck{}, fmt.Errorf("looking for truth files: %w", err)
	}
	if len(files) == 0 {
		return TruthCheck{}, fmt.Errorf("%s has no truth files", dir)
	}
	text, err := readOptional(dir, "repairs.txt")
	if err != nil {
		return TruthCheck{}, err
	}
	repairs, err := parseRepairs(text, fold)
	if err != nil {
		return TruthCheck{}, err
	}
	c := truthChecker{fold: fold, index: indexTruth(e), repairs: repairs}
	slices.Sort(files)
	for _, file := range files {
		deals, err := readTruth(file)
		if err != nil {
			return TruthCheck{}, err
		}
		for _, d := range deals {
			if err := c.except(d); err != nil {
				return TruthCheck{}, fmt.Errorf("checking %s, opportunity %s: %w", d.file, d.opportunity, err)
			}
			c.deal(d)
		}
	}
	sortDifferences(c.out.Differences)
	return c.out, nil
}

// indexTruth finds rows by native id; deals by that of their opportunity.
func indexTruth(e Expected) map[string]map[string]Row {
	out := map[string]map[string]Row{}
	for _, view := range []string{"deals", "opportunities", "orders", "subscriptions", "invoices", "identity_links", "accounts"} {
		out[view] = map[string]Row{}
		for _, r := range e[view] {
			key := r["native_id"]
			switch view {
			case "deals":
				key = r["opportunity_native_id"]
			case "accounts":
				key = r["account_id"]
			case "identity_links":
				key = r["system"] + "/" + r["native_id"]
			}
			out[view][key] = r
		}
	}
	return out
}

// repairs are the changes by hand that make the databases differ from what the
// scenario left.
type repairs struct {
	undone    map[string]bool // invoices that lost a payment
	shortened map[string]bool // invoices that lost a line
	recreated map[string]bool // opportunities deleted and made again
}

// parseRepairs reads repairs.txt: headings "== what was done", then the ids of
// the rows concerned. Headings that change nothing a truth file tells are known
// as well, so that a new one is noticed.
func parseRepairs(text string, fold *folded) (repairs, error) {
	out := repairs{undone: map[string]bool{}, shortened: map[string]bool{}, recreated: map[string]bool{}}
	what, nth := "", 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "== "); ok {
			what, nth = heading, 0
			continue
		}
		if line == "" {
			continue
		}
		nth++
		ids := strings.Split(line, "|")
		switch what {
		case "a payment undone": // link|invoice|entry line
			if len(ids) != 3 {
				return repairs{}, fmt.Errorf("repairs.txt: %q: want link|invoice|entry line, got %q", what, line)
			}
			out.undone[ids[1]] = true
		case "an invoice line moved and then deleted": // line|to invoice
			history := fold.images["erp.account_invoice_line"][ids[0]]
			if len(history) == 0 {
				return repairs{}, fmt.Errorf("repairs.txt: %q: invoice line %s is not in the recording", what, ids[0])
			}
			if from, ok := history[0].number("invoice"); ok {
				out.shortened[strconv.FormatInt(from, 10)] = true
			}
		case "a lost opportunity deleted with its lines, then made again under the same id": // the opportunity twice, its lines
			if nth == 1 {
				out.recreated[ids[0]] = true
			}
		case "lines of one order moved to another order", // an order's amounts are columns of its own
			"large texts, then changes that leave them alone",
			"a subscription closed, an order cancelled by hand": // a stage that invoices decide; cancelled is lost
		default:
			return repairs{}, fmt.Errorf("repairs.txt: nothing is known about the heading %q", what)
		}
	}
	return out, nil
}

// readTruth gathers the events of one truth file by deal, in order.
func readTruth(file string) ([]*truthDeal, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("reading truth: %w", err)
	}
	if info.Size() > maxTruthFile {
		return nil, fmt.Errorf("reading truth: %s is longer than %d bytes", file, maxTruthFile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading truth: %w", err)
	}
	var doc struct {
		Events []truthEvent `json:"events"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading truth %s: %w", file, err)
	}
	byDeal := map[int]*truthDeal{}
	var out []*truthDeal
	for _, ev := range doc.Events {
		if ev.Kind == "opportunity.created" {
			d := &truthDeal{
				file: filepath.Base(file), party: ev.CRMParty.String(), opportunity: ev.Opp.String(),
				rows: map[string]string{}, numbers: map[string]string{}, money: map[string]map[string]string{},
				times: map[string]float64{"opened_at": ev.Time}, paid: new(big.Rat),
			}
			d.rows["opportunities"] = d.opportunity
			d.money["opportunities"] = map[string]string{"amount": ev.Amount}
			byDeal[ev.Deal] = d
			out = append(out, d)
			continue
		}
		if ev.Kind == "party.deleted" {
			continue // a party without deals; its event names none
		}
		d := byDeal[ev.Deal]
		if d == nil {
			return nil, fmt.Errorf("reading truth %s: %s of deal %d, which was never created", file, ev.Kind, ev.Deal)
		}
		if err := d.add(ev); err != nil {
			return nil, fmt.Errorf("reading truth %s: deal %d: %w", file, ev.Deal, err)
		}
	}
	return out, nil
}

func (d *truthDeal) add(ev truthEvent) error {
	switch ev.Kind {
	case "opportunity.closed_won":
		d.rows["orders"], d.numbers["order_number"], d.times["won_at"] = ev.Sale.String(), ev.Number, ev.Time
		d.money["orders"] = map[string]string{"gross": ev.Total}
	case "opportunity.lost":
		d.lost, d.times["lost_at"] = true, ev.Time
	case "subscription.activated":
		d.rows["subscriptions"], d.numbers["subscription_number"], d.times["activated_at"] = ev.Sub.String(), ev.Number, ev.Time
		d.customers = append(d.customers, "subs/"+ev.SubParty.String())
	case "erp.customer":
		d.customers = append(d.customers, "erp/"+ev.ERPParty.String())
	case "invoice.posted":
		d.rows["invoices"], d.numbers["invoice_number"], d.times["invoiced_at"] = ev.Invoice.String(), ev.Number, ev.Time
		d.money["invoices"] = map[string]string{"net": ev.Untaxed, "tax": ev.Tax, "gross": ev.Total}
	case "invoice.paid":
		amount, ok := new(big.Rat).SetString(ev.Amount)
		if !ok || ev.Invoice.String() != d.rows["invoices"] {
			return fmt.Errorf("a payment of %q for invoice %s", ev.Amount, ev.Invoice)
		}
		d.payments++
		d.paid.Add(d.paid, amount)
		if gross, ok := new(big.Rat).SetString(d.money["invoices"]["gross"]); ok && d.paid.Cmp(gross) >= 0 {
			d.times["paid_at"] = ev.Time
		}
	case "credit_note.posted":
		d.credit = ev.Invoice.String()
		d.money["credit"] = map[string]string{"gross": ev.Total}
		d.numbers["credit"] = ev.Number
	case "crm.renamed":
		d.renamed = ev.Name
	case "payment.abandoned", "invoice.draft_deleted", "party.identified", "party.relinked", "party.unlinked", "error":
		// They leave the deal's documents as they are; which of its parties
		// are linked in the end is asked of the recording.
	default:
		return fmt.Errorf("nothing is known about events of kind %q", ev.Kind)
	}
	return nil
}

// stage is the deal's stage by what was done to it.
func (d *truthDeal) stage() string {
	gross, _ := new(big.Rat).SetString(d.money["invoices"]["gross"])
	switch {
	case d.lost:
		return "lost"
	case d.credit != "":
		return "credited"
	case gross != nil && d.paid.Cmp(gross) >= 0:
		return "paid"
	case d.paid.Sign() > 0:
		return "partly_paid"
	case d.rows["invoices"] != "":
		return "invoiced"
	case d.rows["subscriptions"] != "":
		return "activated"
	case d.rows["orders"] != "":
		return "won"
	default:
		return "opened"
	}
}

type truthChecker struct {
	fold    *folded
	index   map[string]map[string]Row
	repairs repairs
	out     TruthCheck
}

func (c *truthChecker) excepted(d *truthDeal, format string, args ...any) {
	c.out.Excepted = append(c.out.Excepted, d.file+", opportunity "+d.opportunity+": "+fmt.Sprintf(format, args...))
}

// linked tells whether a party has an identifier in the end.
func (c *truthChecker) linked(system, party string) bool {
	for _, l := range c.fold.tables[system+".party_identifier"] {
		if p, ok := l.last().number("party"); ok && strconv.FormatInt(p, 10) == party {
			return true
		}
	}
	return false
}

// except brings what the scenario did in line with what came after it.
func (c *truthChecker) except(d *truthDeal) error {
	if id := d.rows["invoices"]; c.repairs.undone[id] {
		if d.payments != 1 {
			return fmt.Errorf("the payment undone is one of %d; which is not known", d.payments)
		}
		d.paid, d.payments = new(big.Rat), 0
		delete(d.times, "paid_at")
		c.excepted(d, "the payment of invoice %s was undone by hand", id)
	}
	if id := d.rows["invoices"]; c.repairs.shortened[id] {
		delete(d.money, "invoices")
		c.excepted(d, "invoice %s lost a line by hand", id)
	}
	if c.repairs.recreated[d.opportunity] {
		delete(d.times, "opened_at")
		delete(d.times, "lost_at")
		d.reborn = true
		c.excepted(d, "deleted and made again by hand: its times are those of the second life")
	}
	for _, doc := range []struct{ view, table, system, number, time string }{
		{"subscriptions", "subs.sale_subscription", "subs", "subscription_number", "activated_at"},
		{"invoices", "erp.account_invoice", "erp", "invoice_number", "invoiced_at"},
	} {
		l := c.fold.tables[doc.table][d.rows[doc.view]]
		if len(l) == 0 {
			continue
		}
		p, _ := l.last().number("party")
		party := strconv.FormatInt(p, 10)
		if c.linked(doc.system, party) {
			continue
		}
		c.excepted(d, "%s party %s is linked to nobody in the end, so %s %s is not the deal's", doc.system, party, doc.view, d.rows[doc.view])
		delete(d.rows, doc.view)
		delete(d.numbers, doc.number)
		delete(d.money, doc.view)
		delete(d.times, doc.time)
		if doc.view == "invoices" {
			d.paid = new(big.Rat)
			delete(d.times, "paid_at")
			if d.credit != "" {
				d.credit = ""
				delete(d.money, "credit")
			}
		}
	}
	return nil
}

func (c *truthChecker) differ(d *truthDeal, column, want, got string) {
	c.out.Differences = append(c.out.Differences, Difference{View: d.file, Key: "opportunity " + d.opportunity, Column: column, Kind: Cell, Want: want, Got: got})
}

func (c *truthChecker) deal(d *truthDeal) {
	c.out.Deals++
	row := c.index["deals"][d.opportunity]
	if row == nil {
		c.differ(d, "deal", "a row", "none")
		return
	}
	if want := d.stage(); row["stage"] != want {
		c.differ(d, "stage", want, row["stage"])
	}
	for _, column := range []string{"order_number", "subscription_number", "invoice_number"} {
		if row[column] != d.numbers[column] {
			c.differ(d, column, d.numbers[column], row[column])
		}
	}
	if d.rows["orders"] != "" {
		c.out.Won++
	}
	for view, amounts := range d.money {
		id, in := d.rows[view], view
		if view == "credit" {
			id, in = d.credit, "invoices"
		}
		r := c.index[in][id]
		for column, want := range amounts {
			want, err := DecimalText(want)
			if order := c.index["orders"][d.rows["orders"]]; in == "opportunities" && order != nil && r != nil && r[column] != want && r[column] == order["net"] {
				c.out.Discounted++ // the server takes the order's amount over
				continue
			}
			if err != nil || r == nil || r[column] != want {
				c.differ(d, in+" "+id+" "+column, want, orNull(r[column], r != nil))
			}
		}
		if r != nil && r["account_id"] != row["account_id"] {
			c.differ(d, in+" "+id+" account_id", row["account_id"], r["account_id"])
		}
	}
	if r := c.index["invoices"][d.rows["invoices"]]; r != nil {
		c.out.Invoices++
		if d.paid.Sign() > 0 {
			c.out.Payments++
		}
		if paid, ok := new(big.Rat).SetString(r["paid"]); !ok || paid.Cmp(d.paid) != 0 {
			c.differ(d, "invoices "+d.rows["invoices"]+" paid", d.paid.FloatString(2), r["paid"])
		}
	}
	for _, column := range []string{"opened_at", "won_at", "lost_at", "activated_at", "invoiced_at", "paid_at"} {
		want, known := d.times[column]
		if !known && (row[column] == "" || d.reborn && (column == "opened_at" || column == "lost_at")) {
			continue
		}
		at, err := time.Parse(timeForm, row[column])
		if !known || err != nil {
			c.differ(d, column, orNull(strconv.FormatFloat(want, 'f', 6, 64), known), orNull(row[column], err == nil))
			continue
		}
		c.out.Times++
		scenario := time.UnixMicro(int64(want * 1e6)).UTC()
		if at.Sub(scenario).Abs() > truthTolerance {
			c.differ(d, column, scenario.Format(timeForm), row[column])
		}
	}
	account := c.index["accounts"][row["account_id"]]
	if account == nil || account["crm_id"] != d.party {
		c.differ(d, "account", "that of CRM party "+d.party, row["account_id"])
	} else if d.renamed != "" && account["name"] != d.renamed {
		c.differ(d, "account name", d.renamed, account["name"])
	}
	for _, party := range d.customers {
		system, id, _ := strings.Cut(party, "/")
		link := c.index["identity_links"][party]
		switch {
		case !c.linked(system, id):
			if link["rule"] != "none" {
				c.differ(d, party+" rule", "none", link["rule"])
			}
		case link["account_id"] != row["account_id"]:
			c.differ(d, party+" account_id", row["account_id"], link["account_id"])
		}
	}
}
