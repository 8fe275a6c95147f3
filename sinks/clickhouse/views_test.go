package clickhouse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"syncline/schemas/canonical"
)

func env(id, account string, version int64) canonical.Envelope {
	e := canonical.Envelope{EntityID: id, Version: version, System: "erp", NativeID: strings.TrimLeft(id, "abcdefghijklmnopqrstuvwxyz")}
	if account != "" {
		e.AccountID = &account
	}
	return e
}

// one is one live record of every entity under account a.
func one(version int64) map[string]any {
	e := env("e1", "a", version)
	line := []canonical.Line{{NativeID: "1", ProductID: ptr("p1"), Quantity: cents(100), UnitPrice: cents(4990)}}
	return map[string]any{
		"canonical.account": &canonical.AccountRecord{
			Envelope: e, Name: ptr("Ada"), CRMIDs: []string{"1", "10"},
			Addresses: []canonical.Address{{System: "crm", NativeID: "3", City: ptr("Bern")}}, Contacts: []canonical.Contact{{System: "erp", NativeID: "4", Value: ptr("a@b")}},
		},
		"canonical.identity_link": &canonical.IdentityLinkRecord{Envelope: e, Rule: "master", LinkedAt: at(1, 0, 0)},
		"canonical.product":       &canonical.ProductRecord{Envelope: e, Kind: "product", Code: ptr("SEAT")},
		"canonical.opportunity":   &canonical.OpportunityRecord{Envelope: e, Lines: line},
		"canonical.order":         &canonical.OrderRecord{Envelope: e, Lines: line},
		"canonical.subscription":  &canonical.SubscriptionRecord{Envelope: e, Lines: line},
		"canonical.invoice":       &canonical.InvoiceRecord{Envelope: e, Kind: "invoice", Lines: line},
		"canonical.payment":       &canonical.PaymentRecord{Envelope: e, Amount: cents(1)},
		"canonical.deal":          &canonical.DealRecord{Envelope: e, Stage: "won", OpenedAt: at(1, 0, 0), WonAt: at(2, 0, 0)},
	}
}

func deletion(topic string, version int64) any {
	e := canonical.Envelope{EntityID: "e1", AccountID: ptr("a"), Version: version, Deleted: true}
	return map[string]any{
		"canonical.account": &canonical.AccountRecord{Envelope: e}, "canonical.identity_link": &canonical.IdentityLinkRecord{Envelope: e},
		"canonical.product": &canonical.ProductRecord{Envelope: e}, "canonical.opportunity": &canonical.OpportunityRecord{Envelope: e},
		"canonical.order": &canonical.OrderRecord{Envelope: e}, "canonical.subscription": &canonical.SubscriptionRecord{Envelope: e},
		"canonical.invoice": &canonical.InvoiceRecord{Envelope: e}, "canonical.payment": &canonical.PaymentRecord{Envelope: e},
		"canonical.deal": &canonical.DealRecord{Envelope: e},
	}[topic]
}

func TestDeletesHideRowsInEveryView(t *testing.T) {
	w := open(t)
	views := []string{
		"accounts", "account_addresses", "account_contacts", "identity_links", "products", "opportunities", "opportunity_lines", "orders", "order_lines",
		"subscriptions", "subscription_lines", "invoices", "invoice_lines", "payments", "deals", "facts", "kpi_daily",
	}
	for topic, rec := range one(1) {
		write(t, w, topic, part(t, 0, 0, rec))
	}
	for _, v := range views {
		if got := ask(t, w, "[toString(count())] AS row FROM "+v); got == "0" {
			t.Errorf("%s shows nothing, so that a delete could not be seen", v)
		}
	}
	for topic := range one(1) {
		write(t, w, topic, part(t, 0, 1, deletion(topic, 2)))
		write(t, w, topic, part(t, 0, 0, one(1)[topic])) // and an old batch comes once more
	}
	for _, v := range views {
		wants(t, w, "count()", v, "0")
	}
	wants(t, w, "count()", "identity_link_history", "1")
	for topic, rec := range one(3) {
		write(t, w, topic, part(t, 0, 2, rec))
	}
	for _, v := range views {
		if got := ask(t, w, "[toString(count())] AS row FROM "+v); got == "0" {
			t.Errorf("%s hides a row that came back", v)
		}
	}
}

func TestAccounts(t *testing.T) {
	w := open(t)
	write(t, w, "canonical.account", part(t, 0, 0, one(1)["canonical.account"]))
	wants(t, w, "account_id, name, crm_id, crm_ids, subs_ids, version, updated_at", "accounts", "e1|Ada|NULL|['1','10']|[]|1|NULL")
	wants(t, w, "account_id, system, native_id, street, city", "account_addresses", "e1|crm|3|NULL|Bern")
	wants(t, w, "account_id, system, native_id, type, value", "account_contacts", "e1|erp|4|NULL|a@b")
}

// The same entity under two accounts is two rows: the old account's retraction
// may come later than the new account's row.
func TestOneEntityUnderTwoAccounts(t *testing.T) {
	w := open(t)
	write(t, w, "canonical.invoice", part(t, 0, 0, &canonical.InvoiceRecord{Envelope: env("i1", "", 1)}))
	write(t, w, "canonical.invoice", part(t, 1, 0, &canonical.InvoiceRecord{Envelope: env("i1", "a", 1)}))
	wants(t, w, "native_id, account_id", "invoices ORDER BY account_id NULLS FIRST", "1|NULL", "1|a")
	gone := env("i1", "", 2)
	gone.Deleted = true
	write(t, w, "canonical.invoice", part(t, 0, 1, &canonical.InvoiceRecord{Envelope: gone}))
	wants(t, w, "native_id, account_id", "invoices", "1|a")
}

func TestIdentityHistory(t *testing.T) {
	w := open(t)
	link := func(account string, version int64, deleted bool, linked *int64, name string) *canonical.IdentityLinkRecord {
		e := env("p19", account, version)
		e.Deleted = deleted
		if deleted {
			return &canonical.IdentityLinkRecord{Envelope: e}
		}
		return &canonical.IdentityLinkRecord{Envelope: e, Rule: "reference", LinkedAt: linked, Reference: ptr("CRM-" + account), Name: &name}
	}
	// CRM-5, renamed, CRM-6, back to CRM-5
	write(t, w, "canonical.identity_link", part(t, 0, 0, link("5", 1, false, at(1, 0, 0), "Ada"), link("5", 2, false, at(1, 0, 0), "Ada Ltd"), link("5", 3, true, nil, "")))
	write(t, w, "canonical.identity_link", part(t, 1, 0, link("6", 1, false, at(2, 0, 0), "Ada Ltd"), link("6", 2, true, nil, "")))
	write(t, w, "canonical.identity_link", part(t, 0, 3, link("5", 4, false, at(3, 0, 0), "Ada Ltd")))
	if err := w.conn.Exec(t.Context(), "OPTIMIZE TABLE "+w.opts.Database+".canonical_identity_link FINAL"); err != nil {
		t.Fatal(err)
	}
	wants(t, w, "system, native_id, account_id, rule, linked_at, version, name", "identity_links", "erp|19|5|reference|2026-11-22 03:00:00.000000|4|Ada Ltd")
	wants(t, w, "account_id, reference, linked_at, first_version, last_version", "identity_link_history ORDER BY linked_at",
		"5|CRM-5|2026-11-22 01:00:00.000000|1|2", "6|CRM-6|2026-11-22 02:00:00.000000|1|1", "5|CRM-5|2026-11-22 03:00:00.000000|4|4")
	wants(t, w, "count()", "canonical_identity_link", "6")
}

func TestProductsAndLines(t *testing.T) {
	w := open(t)
	product := func(id, kind string, code, name, of *string) any {
		return &canonical.ProductRecord{Envelope: env(id, "", 1), Kind: kind, Code: code, Name: name, OfID: of}
	}
	write(t, w, "canonical.product", part(t, 0, 0,
		product("t1", "template", ptr("SEAT"), ptr("Seat licence"), nil),
		product("p1", "product", ptr("SEAT"), nil, ptr("t1")),
		product("p2", "product", ptr(""), ptr("own"), ptr("t1")),
		product("p3", "product", ptr("BARE"), ptr("Bare"), nil),
		product("p4", "product", ptr("LOST"), ptr("Lost"), ptr("nowhere")),
		product("s1", "service", nil, nil, ptr("p1")),
		product("s2", "service", nil, nil, ptr("p2")),
		product("s3", "service", nil, nil, ptr("nowhere")),
	))
	wants(t, w, "native_id, code, name", "products ORDER BY native_id", "1|SEAT|Seat licence", "2|SEAT|Seat licence", "3|BARE|Bare", "4|LOST|Lost")
	var lines []canonical.Line
	for i, id := range []string{"p1", "p2", "p3", "s1", "s2", "s3", "nowhere"} {
		lines = append(lines, canonical.Line{NativeID: fmt.Sprint(i), ProductID: &id, Quantity: cents(150), UnitPrice: cents(1234)})
	}
	lines = append(lines, canonical.Line{NativeID: "7"})
	write(t, w, "canonical.subscription", part(t, 0, 0, &canonical.SubscriptionRecord{Envelope: env("c5", "a", 1), Lines: lines}))
	wants(t, w, "parent_native_id, native_id, product_code, quantity, unit_price, account_id", "subscription_lines ORDER BY native_id",
		"5|0|SEAT|1.5|12.34|a", "5|1|SEAT|1.5|12.34|a", "5|2|BARE|1.5|12.34|a", "5|3|SEAT|1.5|12.34|a", "5|4|SEAT|1.5|12.34|a", "5|5|NULL|1.5|12.34|a", "5|6|NULL|1.5|12.34|a", "5|7|NULL|NULL|NULL|a")
}

func TestDealsAndFacts(t *testing.T) {
	w := open(t)
	d := &canonical.DealRecord{
		Envelope: env("d24", "a", 7), OpportunityNativeID: ptr("24"), OrderNumber: ptr("S-1"), Stage: "activated",
		OpenedAt: at(1, 0, 0), WonAt: ptr(*at(2, 0, 0) + 141), ActivatedAt: at(3, 0, 0), Approximate: []string{"opened_at", "activated_at"}, Amount: cents(45243), Currency: ptr("USD"),
	}
	write(t, w, "canonical.deal", part(t, 0, 0, d, &canonical.DealRecord{Envelope: env("d25", "", 1), Stage: "opened"}))
	wants(t, w, "deal_id, account_id, opportunity_native_id, order_number, subscription_number, stage, won_at, lost_at, approximate, approximate_milestones, amount, currency", "deals ORDER BY deal_id",
		"d24|a|24|S-1|NULL|activated|2026-11-22 02:00:00.000141|NULL|true|['opened_at','activated_at']|452.43|USD",
		"d25|NULL|NULL|NULL|NULL|opened|NULL|NULL|false|[]|NULL|NULL")
	wants(t, w, "deal_id, step, at, approximate", "facts ORDER BY at",
		"d24|opened|2026-11-22 01:00:00.000000|true", "d24|won|2026-11-22 02:00:00.000141|false", "d24|activated|2026-11-22 03:00:00.000000|true")
}

func TestKPIs(t *testing.T) {
	w := open(t)
	n := 0
	deal := func(stage string, won, activated, invoiced *int64, approximate ...string) any {
		n++
		return &canonical.DealRecord{Envelope: env(fmt.Sprintf("d%02d", n), "a", 1), Stage: stage, WonAt: won, ActivatedAt: activated, InvoicedAt: invoiced, Approximate: approximate, Complete: true}
	}
	with := func(d any, change func(*canonical.DealRecord)) any {
		change(d.(*canonical.DealRecord))
		return d
	}
	day := func(d int, v *int64) *int64 { return ptr(*v + int64(d)*86400_000000) }
	write(t, w, "canonical.deal", part(t, 0, 0,
		deal("activated", at(10, 0, 0), at(10, 0, 10), nil),                            // 10 s; invoice open since the 22nd
		deal("paid", at(10, 0, 0), ptr(*at(10, 0, 20)+500_000), day(1, at(0, 0, 0))),   // 20.5 s; lag ends on the 23rd
		deal("invoiced", at(23, 59, 59), day(1, at(0, 0, 29)), day(1, at(0, 0, 30))),   // 30 s, ends on the 23rd; lag 1 s
		deal("invoiced", at(10, 0, 0), at(10, 1, 40), at(10, 1, 40), "won_at"),         // approximate; lag 0 s exact
		deal("activated", at(10, 0, 0), at(10, 0, 1), nil, "opened_at", "invoiced_at"), // 1 s, exact: neither end is approximate
		deal("won", day(-1, at(23, 0, 0)), nil, nil),                                   // open since the 21st
		deal("won", day(-1, at(22, 0, 0)), nil, nil, "won_at"),                         // open too, older
		deal("lost", day(-1, at(1, 0, 0)), nil, nil),                                   // lost: waits for nothing
		deal("lost", at(10, 0, 0), at(10, 0, 5), nil),                                  // a pair remains a pair; its invoice is not waited for
		deal("activated", nil, day(2, at(1, 0, 0)), nil),                               // never won: no pair; invoice open on the 24th
		deal("invoiced", nil, nil, at(1, 0, 0)),                                        // an end without a start
		deal("invoiced", at(9, 0, 0), at(10, 0, 0), at(9, 30, 0)),                      // an hour; invoiced in advance
		deal("activated", at(9, 0, 0), at(8, 0, 0), nil),                               // activated before it was won; invoice open
		with(deal("paid", at(9, 0, 0), at(9, 0, 3), at(9, 0, 2)), func(d *canonical.DealRecord) { d.Complete = false }),
		with(deal("activated", at(9, 0, 0), at(9, 0, 7), at(9, 0, 8)), func(d *canonical.DealRecord) { d.Flags = []string{"void_invoice"} }), // 7 s; waits for another invoice
	))
	// exact pairs of quote_to_activation on the 22nd: 1, 5, 7, 10, 20.5, 3600; quantileExact takes the element at level * count
	wants(t, w, "day, metric, count, approximate, early, incomplete, open, p50, p90, p99, max", "kpi_daily ORDER BY metric, day",
		"2026-11-22|invoice_lag|1|0|1|1|4|0|0|0|0",
		"2026-11-23|invoice_lag|2|0|0|0|0|50379.5|50379.5|50379.5|50379.5",
		"2026-11-24|invoice_lag|0|0|0|0|1|NULL|NULL|NULL|NULL",
		"2026-11-21|quote_to_activation|0|0|0|0|2|NULL|NULL|NULL|NULL",
		"2026-11-22|quote_to_activation|6|1|1|1|0|10|3600|3600|3600",
		"2026-11-23|quote_to_activation|1|0|0|0|0|30|30|30|30")
	// Compared by the server's clock: the oldest open deal of the 21st is that of 22:00.
	age := "dateDiff('second', toDateTime('2026-11-21 22:00:00', 'UTC'), now())"
	if got := ask(t, w, "[toString(abs(oldest_open_seconds - "+age+") <= 1)] AS row FROM kpi_daily WHERE day = '2026-11-21'"); got != "1" {
		t.Errorf("oldest_open_seconds is not %s", age)
	}
	wants(t, w, "oldest_open_seconds", "kpi_daily WHERE open = 0 LIMIT 1", "NULL")
}

// Days are UTC days, in whatever zone the server lives and in summer as in
// winter.
func TestTimesAreUTC(t *testing.T) {
	w := open(t)
	moments := []time.Time{
		time.Date(2026, 3, 29, 0, 59, 59, 999_999_000, time.UTC), // a second before Berlin's clocks go forward
		time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC),
		time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), // 02:30 comes twice in Berlin
		time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC),
		time.Date(2026, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2261, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	}
	var recs []any
	var want, days []string
	for i, m := range moments {
		date := int32(m.Truncate(24*time.Hour).Unix() / 86400)
		if m.Unix() < 0 && m.Truncate(24*time.Hour).Unix()%86400 != 0 {
			t.Fatal("a day is a whole number")
		}
		recs = append(recs, &canonical.OrderRecord{Envelope: env(fmt.Sprintf("o%d", i), "a", 1), CreatedAt: ptr(m.UnixMicro()), OrderDate: &date})
		want = append(want, m.Format("2006-01-02 15:04:05.000000")+"|"+m.Format(time.DateOnly))
		days = append(days, m.Format(time.DateOnly))
	}
	write(t, w, "canonical.order", part(t, 0, 0, recs...))
	wants(t, w, "created_at, order_date", "orders ORDER BY native_id", want...)
	wants(t, w, "toDate32(created_at)", "orders ORDER BY native_id SETTINGS session_timezone = 'Europe/Berlin'", days...)
}

func TestAmountsToTheLastDigit(t *testing.T) {
	w := open(t)
	var recs []any
	want := []string{
		"99999999999999999999999999999.999999999", "-99999999999999999999999999999.999999999", "9223372036.854775807", "9223372036.854775808",
		"-9223372036.854775808", "-9223372036.854775809", "0.000000001", "-0.000000001", "0", "0.1", "-2026.32", "0.000000127", "0.000000128", "-0.000000128", "-0.000000129",
	}
	for i, s := range want {
		d, err := canonical.NewDecimal(unscaled(t, s), 9)
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, &canonical.PaymentRecord{Envelope: env(fmt.Sprintf("p%02d", i), "a", 1), Amount: d})
	}
	write(t, w, "canonical.payment", part(t, 0, 0, recs...))
	wants(t, w, "amount", "payments ORDER BY native_id", want...)
	wants(t, w, "toTypeName(amount)", "payments LIMIT 1", "Nullable(Decimal(38, 9))")
}

func TestFeedHealth(t *testing.T) {
	w := open(t)
	write(t, w, "syncline.feeds", part(t, 0, 0,
		&canonical.FeedRecord{Topic: "cdc.crm.party", Hop: "intake", Partition: 0, Version: 1, Received: 5, LastEventAt: at(1, 0, 0), LastSeenAt: at(2, 0, 0)},
		&canonical.FeedRecord{Topic: "cdc.crm.party", Hop: "intake", Partition: 0, Version: 2, Received: 10, Repeated: 2, Stale: 1, Letters: 3, Healed: 1, LastEventAt: at(3, 0, 0), LastSeenAt: at(4, 0, 0)},
		&canonical.FeedRecord{Topic: "cdc.crm.party", Hop: "intake", Partition: 1, Version: 1, Received: 7, LastEventAt: at(9, 0, 0)},
		&canonical.FeedRecord{Topic: "cdc.crm.party", Hop: "document", Partition: 3, Version: 9, Waiting: 4, WaitingSince: at(8, 0, 0), Letters: 1},
		&canonical.FeedRecord{Topic: "cdc.erp.invoice", Hop: "intake", Partition: 0, Version: 1},
	))
	write(t, w, "syncline.feeds", part(t, 1, 0, &canonical.FeedRecord{Topic: "cdc.crm.party", Hop: "intake", Partition: 0, Version: 1, Received: 5})) // late
	wants(t, w, "topic, received, repeated, stale, waiting, letters, last_event_at, last_seen_at, waiting_since", "feed_health ORDER BY topic",
		"cdc.crm.party|17|2|1|4|3|2026-11-22 09:00:00.000000|2026-11-22 04:00:00.000000|2026-11-22 08:00:00.000000", "cdc.erp.invoice|0|0|0|0|0|NULL|NULL|NULL")
}

func TestLetters(t *testing.T) {
	w := open(t)
	l := canonical.LetterRecord{Topic: "cdc.crm.party", Partition: 2, Offset: 77, Timestamp: 1795392000123, Hop: "intake", Reason: "avro.truncated", Message: "it ends at byte 3", Key: &[]byte{0, 1}, Value: &[]byte{0xff, 0, 0xfe}}
	healed := l
	healed.Healed = true
	write(t, w, "syncline.letters", part(t, 0, 10, &l))
	wants(t, w, "topic, partition, offset, timestamp, hop, reason, message, healed, hex(key), hex(value)", "letters", "cdc.crm.party|2|77|2026-11-23 00:00:00.123|intake|avro.truncated|it ends at byte 3|false|0001|FF00FE")
	write(t, w, "syncline.letters", part(t, 0, 11, &healed))
	write(t, w, "syncline.letters", part(t, 0, 10, &l))
	wants(t, w, "offset, healed", "letters", "77|true")
	wants(t, w, "state, attempts, fingerprint", "letters", "healed|1|") // as early versions have written them
	settled := l
	settled.Healed, settled.State, settled.Attempts, settled.Fingerprint, settled.Who = true, "discarded", 3, "0a1b2c3d4e5f", ptr("ada")
	write(t, w, "syncline.letters", part(t, 0, 11, &settled))
	wants(t, w, "state, attempts, fingerprint, who, why", "letters", "discarded|3|0a1b2c3d4e5f|ada|NULL")

	for i, timestamp := range []int64{-1 << 63, -1, 1<<63 - 1} {
		l.Offset, l.Timestamp = int64(100+i), timestamp
		write(t, w, "syncline.letters", part(t, 0, 12+int64(i), &l))
	}
	wants(t, w, "timestamp", "letters WHERE offset >= 100 ORDER BY offset", "1900-01-01 00:00:00.000", "1969-12-31 23:59:59.999", "2261-12-31 23:59:59.999")
}
