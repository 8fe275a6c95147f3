package oracle

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// timing adds to the rows of recorded.sql what only the history knows.
type timing struct {
	fold *folded
	rows Expected
}

// headers names the table of each document view's header rows.
func headers() map[string]string {
	return map[string]string{
		"opportunities": "crm.sale_opportunity",
		"orders":        "crm.sale_sale",
		"subscriptions": "subs.sale_subscription",
		"invoices":      "erp.account_invoice",
		"payments":      paymentTable,
	}
}

const paymentTable = "erp.account_invoice-account_move_line"

func (t timing) add() error {
	for view, table := range headers() {
		for _, r := range t.rows[view] {
			l, err := t.life(table, r["native_id"])
			if err != nil {
				return err
			}
			setTime(r, "created_at", l.created())
		}
	}
	for _, r := range t.rows["identity_links"] {
		if err := t.linked(r); err != nil {
			return err
		}
	}
	if err := t.accountsUpdated(); err != nil {
		return err
	}
	for _, r := range t.rows["invoices"] {
		if err := t.paidBefore(r); err != nil {
			return fmt.Errorf("invoice %s: %w", r["native_id"], err)
		}
	}
	for _, r := range t.rows["deals"] {
		if err := t.deal(r); err != nil {
			return fmt.Errorf("deal of opportunity %s: %w", r["opportunity_native_id"], err)
		}
	}
	return nil
}

func setTime(r Row, column string, m moment) {
	if !m.isZero() {
		r[column] = m.text()
	}
}

func (t timing) life(table, id string) (life, error) {
	l := t.fold.tables[table][id]
	if len(l) == 0 {
		return nil, fmt.Errorf("%s has no living row %s", table, id)
	}
	return l, nil
}

// number reads an integer column; rows name each other by integers.
func (img image) number(column string) (int64, bool) {
	switch v := img.row[column].(type) {
	case int32:
		return int64(v), true
	case int64:
		return v, true
	default:
		return 0, false
	}
}

func (img image) word(column string) string {
	s, _ := img.row[column].(string)
	return s
}

// masterNumber returns n of an identifier "CRM-<n>", with blanks around it or
// in small letters.
func masterNumber(code string) (uint64, bool) {
	digits, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(code)), "CRM-")
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// linked sets when a party was linked: by reference, since when the identifier
// that is followed has its code and party; else since the party is there.
func (t timing) linked(r Row) error {
	system, id := r["system"], r["native_id"]
	party, err := t.life(system+".party_party", id)
	if err != nil {
		return err
	}
	when := party.created()
	if r["rule"] == "reference" {
		followed, ok := t.followed(system, id)
		if !ok {
			return fmt.Errorf("%s party %s is linked by reference, but the fold knows no identifier", system, id)
		}
		when = followed
	}
	setTime(r, "linked_at", when)
	r["approximate"] = strconv.FormatBool(when.approximate)
	return nil
}

// followed returns since when the smallest master number of a party is there;
// of two identifiers with the same number the one that has it longer.
func (t timing) followed(system, party string) (moment, bool) {
	var smallest uint64
	var since moment
	found := false
	for _, l := range t.fold.tables[system+".party_identifier"] {
		p, ok := l.last().number("party")
		if !ok || strconv.FormatInt(p, 10) != party {
			continue
		}
		n, ok := masterNumber(l.last().word("code"))
		if !ok || found && n > smallest {
			continue
		}
		first := len(l) - 1
		for first > 0 {
			q, has := l[first-1].number("party")
			if !has || q != p || l[first-1].word("code") != l.last().word("code") {
				break
			}
			first--
		}
		m := l[first].when("write_date", "create_date")
		if !found || n < smallest {
			since = m
		} else {
			since = earliest(since, m)
		}
		smallest, found = n, true
	}
	return since, found
}

// accountsUpdated sets the greatest commit time among the rows of each
// account's parties.
func (t timing) accountsUpdated() error {
	account := map[string]string{} // "system/id" of a party
	for _, r := range t.rows["identity_links"] {
		account[r["system"]+"/"+r["native_id"]] = r["account_id"]
	}
	latest := map[string]moment{}
	saw := func(party string, m moment) {
		if id, ok := account[party]; ok && m.micros > latest[id].micros {
			latest[id] = m
		}
	}
	for _, system := range []string{"crm", "subs", "erp"} {
		for id, l := range t.fold.tables[system+".party_party"] {
			saw(system+"/"+id, l.committed())
		}
		for _, part := range []string{"party_identifier", "party_address", "party_contact_mechanism"} {
			for _, l := range t.fold.tables[system+"."+part] {
				if p, ok := l.last().number("party"); ok {
					saw(system+"/"+strconv.FormatInt(p, 10), l.committed())
				}
			}
		}
	}
	for _, r := range t.rows["accounts"] {
		m := latest[r["account_id"]]
		if m.isZero() {
			return fmt.Errorf("account %s has no rows in the fold", r["account_id"])
		}
		setTime(r, "updated_at", m)
	}
	return nil
}

// milestone returns the earliest time at which an image's state is among those
// given. Every image of the life counts, whether or not a later one took over.
func (l life) milestone(when func(image) moment, states ...string) moment {
	var out moment
	for _, img := range l {
		if slices.Contains(states, img.word("state")) {
			out = earliest(out, when(img))
		}
	}
	return out
}

func written(img image) moment { return img.when("write_date", "create_date") }

// posted is the time of an invoice's image: a snapshot row's is the creation
// of the journal entry that posted it.
func (t timing) posted(img image) moment {
	if !img.snapshot {
		return img.when()
	}
	entry, ok := img.number("move")
	if !ok {
		return moment{}
	}
	l := t.fold.tables["erp.account_move"][strconv.FormatInt(entry, 10)]
	if len(l) == 0 {
		return moment{}
	}
	if at, ok := l.last().micros("create_date"); ok {
		return moment{micros: at, approximate: true}
	}
	return moment{}
}

func (t timing) deal(r Row) error {
	opportunity, err := t.life("crm.sale_opportunity", r["opportunity_native_id"])
	if err != nil {
		return err
	}
	times := map[string]moment{
		"opened_at": opportunity.created(),
		"won_at":    opportunity.milestone(written, "won", "converted"),
		"lost_at":   opportunity.milestone(written, "lost", "cancelled"),
	}
	if id := r["_subscription"]; id != "" {
		l, err := t.life("subs.sale_subscription", id)
		if err != nil {
			return err
		}
		times["activated_at"] = l.milestone(written, "running")
	}
	if id := r["_invoice"]; id != "" {
		l, err := t.life("erp.account_invoice", id)
		if err != nil {
			return err
		}
		times["invoiced_at"] = l.milestone(t.posted, "posted", "paid")
	}
	if bills := r["_bills"]; bills != "" {
		if times["paid_at"], err = t.paid(strings.Split(bills, ","), split(r["_credits"])); err != nil {
			return err
		}
	}
	var approximate []string
	for column, m := range times {
		setTime(r, column, m)
		if m.approximate {
			approximate = append(approximate, column)
		}
	}
	slices.Sort(approximate)
	r["approximate"] = strings.Join(approximate, ",")
	flags := split(r["flags"])
	for _, invoice := range t.rows["invoices"] {
		if slices.Contains(split(r["_invoices"]), invoice["native_id"]) {
			flags = append(flags, split(invoice["flags"])...)
		}
	}
	if earlier(times["activated_at"], times["won_at"]) {
		flags = append(flags, "activated_before")
	}
	if earlier(times["invoiced_at"], times["activated_at"]) {
		flags = append(flags, "invoiced_before")
	}
	slices.Sort(flags)
	r["flags"] = strings.Join(slices.Compact(flags), ",")
	return nil
}

// split takes a list apart; an empty text is an empty list.
func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// earlier tells whether one moment is surely before another.
func earlier(a, b moment) bool {
	return !a.isZero() && !b.isZero() && !a.approximate && !b.approximate && a.micros < b.micros
}

// paidBefore flags an invoice in force that has a payment from before it was
// booked; a draft with one is flagged already.
func (t timing) paidBefore(r Row) error {
	if r["kind"] != "invoice" || r["phase"] != "posted" && r["phase"] != "paid" {
		return nil
	}
	l, err := t.life("erp.account_invoice", r["native_id"])
	if err != nil {
		return err
	}
	booked := l.milestone(written, "posted", "paid")
	for _, p := range t.rows["payments"] {
		amount, ok := new(big.Rat).SetString(p["amount"])
		if p["invoice_native_id"] != r["native_id"] || !ok || amount.Sign() <= 0 {
			continue
		}
		link, err := t.life(paymentTable, p["native_id"])
		if err != nil {
			return err
		}
		if earlier(link.created(), booked) {
			flags := append(split(r["flags"]), "paid_before")
			slices.Sort(flags)
			r["flags"] = strings.Join(flags, ",")
			return nil
		}
	}
	return nil
}

// paid returns when the payments of a deal's live bills, in the order in which
// they were committed, had covered all of them, but for what was credited by
// then. A bill without a line or tax row is never covered.
func (t timing) paid(bills, credits []string) (moment, error) {
	type event struct {
		at     moment
		bill   string // "": a credit
		amount *big.Rat
	}
	due := map[string]*big.Rat{}
	var events []event
	for _, r := range t.rows["invoices"] {
		isBill, isCredit := slices.Contains(bills, r["native_id"]), slices.Contains(credits, r["native_id"])
		if !isBill && !isCredit {
			continue
		}
		gross, ok := new(big.Rat).SetString(r["gross"])
		if !ok {
			return moment{}, fmt.Errorf("invoice %s: gross amount %q is no number", r["native_id"], r["gross"])
		}
		if isCredit {
			l, err := t.life("erp.account_invoice", r["native_id"])
			if err != nil {
				return moment{}, err
			}
			events = append(events, event{at: l.milestone(written, "posted", "paid"), amount: gross.Abs(gross)})
			continue
		}
		due[r["native_id"]] = gross
		if !t.itemised(r["native_id"]) || r["paid"] == "" {
			return moment{}, nil
		}
	}
	if len(due) != len(bills) {
		return moment{}, fmt.Errorf("of the bills %v only %d are among the invoices", bills, len(due))
	}
	for _, r := range t.rows["payments"] {
		if due[r["invoice_native_id"]] == nil || r["amount"] == "" {
			continue
		}
		l, err := t.life(paymentTable, r["native_id"])
		if err != nil {
			return moment{}, err
		}
		amount, ok := new(big.Rat).SetString(r["amount"])
		if !ok {
			return moment{}, fmt.Errorf("payment %s: amount %q is no number", r["native_id"], r["amount"])
		}
		events = append(events, event{at: l.created(), bill: r["invoice_native_id"], amount: amount})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at.micros, b.at.micros) })
	paid, credited := new(big.Rat), new(big.Rat)
	for _, e := range events {
		if e.bill == "" {
			credited.Add(credited, e.amount)
		} else {
			paid.Add(paid, e.amount)
			due[e.bill].Sub(due[e.bill], e.amount)
		}
		open := new(big.Rat)
		for _, rest := range due {
			if rest.Sign() > 0 {
				open.Add(open, rest)
			}
		}
		if paid.Sign() > 0 && open.Cmp(credited) <= 0 {
			return e.at, nil
		}
	}
	return moment{}, nil
}

// itemised tells whether an invoice has a line or a tax row.
func (t timing) itemised(invoice string) bool {
	for _, table := range []string{"erp.account_invoice_line", "erp.account_invoice_tax"} {
		for _, l := range t.fold.tables[table] {
			if of, ok := l.last().number("invoice"); ok && strconv.FormatInt(of, 10) == invoice {
				return true
			}
		}
	}
	return false
}
