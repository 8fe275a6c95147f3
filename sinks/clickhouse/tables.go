package clickhouse

import (
	"slices"
	"strings"
	"time"

	"syncline/schemas/canonical"
)

// target is the table of one kind of records.
type target interface {
	of() string
	name() string
	inserter(topic string, schemas canonical.Schemas) (inserter, error)
}

// table ties a kind of records to its table and says how its columns are filled.
type table[R any] struct {
	to      string
	record  string // name in schemas/avsc
	columns func() []column[R]
}

func (t table[R]) of() string   { return t.record }
func (t table[R]) name() string { return t.to }

// all returns every column, those of the place included.
func (t table[R]) all(topic string) []column[R] {
	return append(t.columns(), places[R](topic)...)
}

// canon is the table of a canonical entity.
func canon[R any](entity string, env func(*R) *canonical.Envelope, own ...column[R]) table[R] {
	return table[R]{to: "canonical_" + entity, record: entity, columns: func() []column[R] {
		return slices.Concat([]column[R]{
			text("entity_id", func(r *R) string { return env(r).EntityID }),
			text("account_id", func(r *R) string {
				if id := env(r).AccountID; id != nil {
					return *id
				}
				return ""
			}),
			integer("version", func(r *R) int64 { return env(r).Version }),
			plain("deleted", typeFlag, func(r *row[R]) uint8 {
				if env(&r.rec).Deleted {
					return 1
				}
				return 0
			}),
			word("system", func(r *R) string { return env(r).System }),
			text("native_id", func(r *R) string { return env(r).NativeID }),
			moment("updated_at", func(r *R) *int64 { return env(r).UpdatedAt }),
			maybeText("source_position", func(r *R) *string { return env(r).SourcePosition }),
		}, own)
	}}
}

func lines[R any](get func(*R) []canonical.Line) []column[R] {
	return []column[R]{
		list("lines.native_id", typeText, get, func(l *canonical.Line) string { return l.NativeID }),
		list("lines.product_id", typeMaybeText, get, func(l *canonical.Line) *string { return l.ProductID }),
		moneyList("lines.quantity", get, func(l *canonical.Line) canonical.Decimal { return l.Quantity }),
		moneyList("lines.unit_price", get, func(l *canonical.Line) canonical.Decimal { return l.UnitPrice }),
	}
}

// targets returns every table, with columns of its own: they hold buffers.
func targets() []target {
	return []target{
		accountTable(), identityLinkTable(), productTable(), opportunityTable(), orderTable(), subscriptionTable(),
		invoiceTable(), paymentTable(), dealTable(), letterTable(), feedTable(),
	}
}

func accountTable() target {
	type R = canonical.AccountRecord
	addresses := func(r *R) []canonical.Address { return r.Addresses }
	contacts := func(r *R) []canonical.Contact { return r.Contacts }
	return canon("account", func(r *R) *canonical.Envelope { return &r.Envelope },
		maybeText("name", func(r *R) *string { return r.Name }),
		maybeText("crm_id", func(r *R) *string { return r.CRMID }),
		maybeText("subs_id", func(r *R) *string { return r.SubsID }),
		maybeText("erp_id", func(r *R) *string { return r.ERPID }),
		texts("crm_ids", func(r *R) []string { return r.CRMIDs }),
		texts("subs_ids", func(r *R) []string { return r.SubsIDs }),
		texts("erp_ids", func(r *R) []string { return r.ERPIDs }),
		maybeFlag("vat_exempt", func(r *R) *bool { return r.VATExempt }),
		list("addresses.system", typeText, addresses, func(a *canonical.Address) string { return a.System }),
		list("addresses.native_id", typeText, addresses, func(a *canonical.Address) string { return a.NativeID }),
		list("addresses.street", typeMaybeText, addresses, func(a *canonical.Address) *string { return a.Street }),
		list("addresses.postal_code", typeMaybeText, addresses, func(a *canonical.Address) *string { return a.PostalCode }),
		list("addresses.city", typeMaybeText, addresses, func(a *canonical.Address) *string { return a.City }),
		list("addresses.country", typeMaybeText, addresses, func(a *canonical.Address) *string { return a.Country }),
		list("contacts.system", typeText, contacts, func(c *canonical.Contact) string { return c.System }),
		list("contacts.native_id", typeText, contacts, func(c *canonical.Contact) string { return c.NativeID }),
		list("contacts.type", typeMaybeText, contacts, func(c *canonical.Contact) *string { return c.Type }),
		list("contacts.value", typeMaybeText, contacts, func(c *canonical.Contact) *string { return c.Value }),
	)
}

func identityLinkTable() target {
	type R = canonical.IdentityLinkRecord
	return canon("identity_link", func(r *R) *canonical.Envelope { return &r.Envelope },
		word("rule", func(r *R) string { return r.Rule }),
		moment("linked_at", func(r *R) *int64 { return r.LinkedAt }),
		flag("approximate", func(r *R) bool { return r.Approximate }),
		maybeText("name", func(r *R) *string { return r.Name }),
		maybeText("reference", func(r *R) *string { return r.Reference }),
		texts("ignored_references", func(r *R) []string { return r.IgnoredReferences }),
	)
}

func productTable() target {
	type R = canonical.ProductRecord
	return canon("product", func(r *R) *canonical.Envelope { return &r.Envelope },
		word("kind", func(r *R) string { return r.Kind }),
		maybeText("code", func(r *R) *string { return r.Code }),
		maybeText("name", func(r *R) *string { return r.Name }),
		maybeText("of_id", func(r *R) *string { return r.OfID }),
	)
}

func opportunityTable() target {
	type R = canonical.OpportunityRecord
	return canon("opportunity", func(r *R) *canonical.Envelope { return &r.Envelope }, slices.Concat([]column[R]{
		maybeText("deal_id", func(r *R) *string { return r.DealID }),
		maybeText("state", func(r *R) *string { return r.State }),
		maybeText("phase", func(r *R) *string { return r.Phase }),
		maybeText("number", func(r *R) *string { return r.Number }),
		maybeText("description", func(r *R) *string { return r.Description }),
		money("amount", func(r *R) canonical.Decimal { return r.Amount }),
		maybeText("currency", func(r *R) *string { return r.Currency }),
		moment("created_at", func(r *R) *int64 { return r.CreatedAt }),
		flag("approximate", func(r *R) bool { return r.Approximate }),
	}, lines(func(r *R) []canonical.Line { return r.Lines }))...)
}

func orderTable() target {
	type R = canonical.OrderRecord
	return canon("order", func(r *R) *canonical.Envelope { return &r.Envelope }, slices.Concat([]column[R]{
		maybeText("deal_id", func(r *R) *string { return r.DealID }),
		maybeText("state", func(r *R) *string { return r.State }),
		maybeText("number", func(r *R) *string { return r.Number }),
		money("net", func(r *R) canonical.Decimal { return r.Net }),
		money("tax", func(r *R) canonical.Decimal { return r.Tax }),
		money("gross", func(r *R) canonical.Decimal { return r.Gross }),
		maybeText("currency", func(r *R) *string { return r.Currency }),
		date("order_date", func(r *R) *int32 { return r.OrderDate }),
		moment("created_at", func(r *R) *int64 { return r.CreatedAt }),
	}, lines(func(r *R) []canonical.Line { return r.Lines }))...)
}

func subscriptionTable() target {
	type R = canonical.SubscriptionRecord
	return canon("subscription", func(r *R) *canonical.Envelope { return &r.Envelope }, slices.Concat([]column[R]{
		maybeText("deal_id", func(r *R) *string { return r.DealID }),
		maybeText("state", func(r *R) *string { return r.State }),
		maybeText("phase", func(r *R) *string { return r.Phase }),
		maybeText("number", func(r *R) *string { return r.Number }),
		maybeText("order_number", func(r *R) *string { return r.OrderNumber }),
		date("start_date", func(r *R) *int32 { return r.StartDate }),
		date("end_date", func(r *R) *int32 { return r.EndDate }),
		money("monthly_net", func(r *R) canonical.Decimal { return r.MonthlyNet }),
		maybeText("currency", func(r *R) *string { return r.Currency }),
		moment("created_at", func(r *R) *int64 { return r.CreatedAt }),
	}, lines(func(r *R) []canonical.Line { return r.Lines }))...)
}

func invoiceTable() target {
	type R = canonical.InvoiceRecord
	return canon("invoice", func(r *R) *canonical.Envelope { return &r.Envelope }, slices.Concat([]column[R]{
		maybeText("deal_id", func(r *R) *string { return r.DealID }),
		maybeText("state", func(r *R) *string { return r.State }),
		maybeText("phase", func(r *R) *string { return r.Phase }),
		maybeText("number", func(r *R) *string { return r.Number }),
		word("kind", func(r *R) string { return r.Kind }),
		date("invoice_date", func(r *R) *int32 { return r.InvoiceDate }),
		maybeText("reference", func(r *R) *string { return r.Reference }),
		maybeText("order_number", func(r *R) *string { return r.OrderNumber }),
		money("net", func(r *R) canonical.Decimal { return r.Net }),
		money("tax", func(r *R) canonical.Decimal { return r.Tax }),
		money("gross", func(r *R) canonical.Decimal { return r.Gross }),
		money("paid", func(r *R) canonical.Decimal { return r.Paid }),
		maybeText("currency", func(r *R) *string { return r.Currency }),
		moment("created_at", func(r *R) *int64 { return r.CreatedAt }),
	}, lines(func(r *R) []canonical.Line { return r.Lines }))...)
}

func paymentTable() target {
	type R = canonical.PaymentRecord
	return canon("payment", func(r *R) *canonical.Envelope { return &r.Envelope },
		maybeText("deal_id", func(r *R) *string { return r.DealID }),
		maybeText("invoice_id", func(r *R) *string { return r.InvoiceID }),
		maybeText("invoice_native_id", func(r *R) *string { return r.InvoiceNativeID }),
		money("amount", func(r *R) canonical.Decimal { return r.Amount }),
		date("paid_on", func(r *R) *int32 { return r.PaidOn }),
		maybeText("currency", func(r *R) *string { return r.Currency }),
		moment("created_at", func(r *R) *int64 { return r.CreatedAt }),
	)
}

func dealTable() target {
	type R = canonical.DealRecord
	return canon("deal", func(r *R) *canonical.Envelope { return &r.Envelope },
		maybeText("opportunity_native_id", func(r *R) *string { return r.OpportunityNativeID }),
		maybeText("order_number", func(r *R) *string { return r.OrderNumber }),
		maybeText("subscription_number", func(r *R) *string { return r.SubscriptionNumber }),
		maybeText("invoice_number", func(r *R) *string { return r.InvoiceNumber }),
		word("stage", func(r *R) string { return r.Stage }),
		moment("opened_at", func(r *R) *int64 { return r.OpenedAt }),
		moment("won_at", func(r *R) *int64 { return r.WonAt }),
		moment("lost_at", func(r *R) *int64 { return r.LostAt }),
		moment("activated_at", func(r *R) *int64 { return r.ActivatedAt }),
		moment("invoiced_at", func(r *R) *int64 { return r.InvoicedAt }),
		moment("paid_at", func(r *R) *int64 { return r.PaidAt }),
		texts("approximate", func(r *R) []string { return r.Approximate }),
		money("amount", func(r *R) canonical.Decimal { return r.Amount }),
		maybeText("currency", func(r *R) *string { return r.Currency }),
	)
}

func letterTable() target {
	type R = canonical.LetterRecord
	maybeBytes := func(name string, get func(*R) *[]byte) column[R] {
		return maybeText(name, func(r *R) *string {
			b := get(r)
			if b == nil {
				return nil
			}
			s := string(*b)
			return &s
		})
	}
	return table[R]{to: "letters_raw", record: "letter", columns: func() []column[R] {
		return []column[R]{
			text("topic", func(r *R) string { return r.Topic }),
			plain("partition", typeInt32, func(r *row[R]) int32 { return r.rec.Partition }),
			integer("offset", func(r *R) int64 { return r.Offset }),
			plain("timestamp", "DateTime64(3, 'UTC')", func(r *row[R]) time.Time {
				// A record's time is whatever its producer said, and a letter
				// must not be refused for it.
				return time.UnixMilli(min(max(r.rec.Timestamp, minMicros/1000), endMicros/1000-1)).UTC()
			}),
			word("hop", func(r *R) string { return r.Hop }),
			word("reason", func(r *R) string { return r.Reason }),
			text("message", func(r *R) string { return r.Message }),
			flag("healed", func(r *R) bool { return r.Healed }),
			maybeBytes("key", func(r *R) *[]byte { return r.Key }),
			maybeBytes("value", func(r *R) *[]byte { return r.Value }),
		}
	}}
}

func feedTable() target {
	type R = canonical.FeedRecord
	return table[R]{to: "feeds_raw", record: "feed", columns: func() []column[R] {
		return []column[R]{
			text("topic", func(r *R) string { return r.Topic }),
			word("hop", func(r *R) string { return r.Hop }),
			plain("partition", typeInt32, func(r *row[R]) int32 { return r.rec.Partition }),
			integer("version", func(r *R) int64 { return r.Version }),
			integer("received", func(r *R) int64 { return r.Received }),
			integer("repeated", func(r *R) int64 { return r.Repeated }),
			integer("stale", func(r *R) int64 { return r.Stale }),
			integer("waiting", func(r *R) int64 { return r.Waiting }),
			moment("waiting_since", func(r *R) *int64 { return r.WaitingSince }),
			integer("letters", func(r *R) int64 { return r.Letters }),
			integer("healed", func(r *R) int64 { return r.Healed }),
			integer("unavailable", func(r *R) int64 { return r.Unavailable }),
			integer("out_of_snapshot", func(r *R) int64 { return r.OutOfSnapshot }),
			integer("tombstones", func(r *R) int64 { return r.Tombstones }),
			moment("last_event_at", func(r *R) *int64 { return r.LastEventAt }),
			moment("last_seen_at", func(r *R) *int64 { return r.LastSeenAt }),
		}
	}}
}

// insertStatement names every column it fills, so that a column which a later
// migration adds is no obstacle.
func insertStatement(database, table string, names []string) string {
	return "INSERT INTO " + database + "." + table + " (`" + strings.Join(names, "`, `") + "`)"
}
