package company

import "encoding/binary"

// system is one of the three databases. How its connector is set up differs on
// purpose.
type system struct {
	name     string // the catalog's name of the instance
	version  string // of the connector
	schema   string // of the database
	millis   bool   // an old connector: commit times in milliseconds only
	blocks   bool   // has the transaction block
	index    int
	database string

	lsn, txid   int64
	lastCommit  int64 // LSN
	txLSN       int64
	order       int64 // within the transaction
	snapshotLSN int64
	streaming   bool
}

const (
	inCRM = iota
	inSubs
	inERP
)

// table is a captured table and its topic.
type table struct {
	sys     *system
	name    string
	topic   string
	cols    []column
	keys    []int // columns of the primary key
	full    bool  // replica identity full
	added   bool  // the columns of the later schema version are there
	schemas [3]int
	index   int

	prefix  []byte // of the source block
	lastID  int64
	objects []object
	lastTx  int64
	inTx    int64
	vals    []val

	received, repeated, stale, letters int64
}

// The places of a table's schemas in Generator.schemas, then in ids.
const (
	keySchema = iota
	valueSchema
	laterSchema
)

type tables struct {
	customers, addresses, contacts, deals, dealItems, orders, orderItems, items *table
	subscribers, subscriberRefs, plans, contracts, contractItems                *table
	debtors, debtorRefs, articles, bills, billItems, billTaxes, receipts        *table
}

func text(name string) column       { return column{name: name, kind: colText} }
func null(c column) column          { c.null = true; return c }
func long(name string) column       { return column{name: name, kind: colLong} }
func of(k colKind, n string) column { return column{name: n, kind: k} }
func number(k colKind, name string, precision, scale int) column {
	return column{name: name, kind: k, precision: precision, scale: scale}
}
func words(name string, w ...string) column { return column{name: name, kind: colEnum, words: w} }

// The systems' words for states and kinds.
const (
	dealNew, dealQualified, dealWon, dealLost    = "new", "qualified", "closed_won", "closed_lost"
	orderOpen, orderConfirmed, orderCancelled    = "open", "confirmed", "cancelled"
	contractPending, contractLive, contractEnded = "pending", "live", "terminated"
	billDraft, billIssued, billSettled, billVoid = "draft", "issued", "settled", "void"
	kindBill, kindCredit                         = "bill", "credit"
)

func (g *Generator) defineTables() {
	c := g.config
	g.systems = [3]*system{
		{name: c.CRM, version: "3.6.0.Final", schema: "sales", blocks: true, database: "crm_prod"},
		{name: c.Subscriptions, version: "2.1.4.Final", schema: "abo", millis: true, database: "abo_live"},
		{name: c.Billing, version: "3.6.0.Final", schema: "ledger", blocks: true, database: "erp01"},
	}
	for i, s := range g.systems {
		s.index, s.lsn, s.txid = i, int64(0x1000000*(i+1)), int64(700*(i+1))
	}
	zoned := func() []column { return []column{of(colZoned, "inserted_at"), null(of(colZoned, "touched_at"))} }
	micros := func() []column { return []column{of(colMicros, "created"), null(of(colMicros, "modified"))} }
	stamps := func() []column {
		return []column{of(colMicroTimestamp, "booked_at"), null(of(colMicroTimestamp, "changed_at"))}
	}
	def := func(sys int, name string, keys []int, times func() []column, cols ...column) *table {
		t := &table{sys: g.systems[sys], name: name, cols: append(cols, times()...), keys: keys, index: len(g.tables)}
		// An added column comes last, as ALTER TABLE does.
		for i, col := range t.cols {
			if col.later {
				t.cols = append(append(t.cols[:i:i], t.cols[i+1:]...), col)
				break
			}
		}
		t.topic = "cdc." + t.sys.name + "." + t.sys.schema + "." + name
		for _, s := range []string{t.sys.version, "postgresql", "cdc." + t.sys.name} {
			t.prefix = appendText(t.prefix, s)
		}
		g.tables = append(g.tables, t)
		return t
	}
	id := []int{0}
	t := &g.t
	// crm: numbers are Avro decimals, times are text with a zone.
	t.customers = def(inCRM, "customers", id, zoned, long("customer_id"), text("display_name"), words("tier", "basic", "plus", "enterprise"),
		column{name: "segment", kind: colText, later: true, dflt: val{s: "unsorted"}})
	t.addresses = def(inCRM, "customer_addresses", id, zoned, of(colUUID, "address_uuid"), long("customer_id"), text("line1"), null(text("zip")), text("town"), text("country_code"))
	t.contacts = def(inCRM, "customer_contacts", []int{0, 1}, zoned, long("customer_id"), text("channel"), text("target"))
	t.deals = def(inCRM, "deals", id, zoned, long("deal_id"), long("customer_id"), column{name: "title", kind: colText, toast: true}, words("stage", dealNew, dealQualified, dealWon, dealLost),
		null(number(colDecimal, "value", 15, 3)), text("currency"), text("code"))
	t.dealItems = def(inCRM, "deal_items", id, zoned, long("deal_item_id"), long("deal_id"), long("item_id"), number(colDecimal, "price", 16, 4), text("memo"),
		column{name: "qty", kind: colDouble, later: true, dflt: val{i: 1000}})
	t.orders = def(inCRM, "orders", id, zoned, long("order_id"), long("customer_id"), null(long("deal_id")), text("code"), words("status", orderOpen, orderConfirmed, orderCancelled),
		number(colDecimal, "net", 15, 3), number(colDecimal, "vat", 15, 3), number(colDecimal, "total", 15, 3), text("currency"), column{name: "notes", kind: colText, null: true, toast: true}, of(colDate, "placed_on"))
	t.orderItems = def(inCRM, "order_items", id, zoned, long("order_item_id"), long("order_id"), long("item_id"), of(colDouble, "qty"), number(colDecimal, "price", 16, 4), text("memo"))
	t.items = def(inCRM, "catalog_items", id, zoned, long("item_id"), text("sku"), text("label"), null(of(colBool, "orderable")))
	// subs: an old connector; times in microseconds by logical type.
	t.subscribers = def(inSubs, "subscribers", id, micros, long("id"), text("label"))
	t.subscriberRefs = def(inSubs, "subscriber_refs", id, micros, long("id"), long("subscriber_id"), text("code"))
	t.plans = def(inSubs, "plans", id, micros, of(colInt, "id"), text("sku"), text("label"), of(colJSON, "attributes"))
	t.contracts = def(inSubs, "contracts", id, micros, long("id"), long("subscriber_id"), text("contract_no"), null(text("order_code")), words("status", contractPending, contractLive, contractEnded),
		of(colEpochDate, "starts_on"), null(of(colEpochDate, "ends_on")), text("currency"), text("cycle"))
	t.contractItems = def(inSubs, "contract_items", id, micros, long("id"), long("contract_id"), of(colInt, "plan_id"), number(colConnectDecimal, "qty", 12, 3), number(colConnectDecimal, "price", 16, 4), text("memo"))
	// erp: Connect decimals, Debezium's micro timestamps, two tables with
	// replica identity full.
	t.debtors = def(inERP, "debtors", id, stamps, long("debtor_no"), text("name"), null(of(colBool, "blocked")))
	t.debtorRefs = def(inERP, "debtor_refs", id, stamps, long("ref_no"), long("debtor_no"), text("code"))
	t.articles = def(inERP, "articles", id, stamps, long("article_no"), text("sku"), text("label"))
	t.bills = def(inERP, "bills", id, stamps, long("bill_id"), null(long("debtor_no")), null(text("bill_no")), words("kind", kindBill, kindCredit), words("status", billDraft, billIssued, billSettled, billVoid),
		null(of(colEpochDate, "issued_on")), null(of(colMicroTimestamp, "issued_at")), null(text("contract_no")), null(text("order_code")), text("currency"))
	t.billItems = def(inERP, "bill_items", id, stamps, long("bill_item_id"), long("bill_id"), long("article_no"), of(colDouble, "qty"), number(colConnectDecimal, "price", 18, 6), text("memo"))
	t.billTaxes = def(inERP, "bill_taxes", []int{0, 1}, stamps, long("bill_id"), text("tax_code"), number(colConnectDecimal, "amount", 15, 3))
	t.receipts = def(inERP, "receipts", id, stamps, of(colUUID, "receipt_uuid"), long("bill_id"), number(colConnectDecimal, "amount", 15, 3), of(colEpochDate, "paid_on"))
	t.debtors.full, t.bills.full = true, true
}

// partition is where a key goes: FNV-1a of the encoded key without its frame,
// so that it does not depend on the ids that a registry gives.
func partition(key []byte) int32 {
	h := uint32(2166136261)
	for _, b := range key {
		h = (h ^ uint32(b)) * 16777619
	}
	return int32((h ^ h>>16) & 3)
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendVarint(b, int64(len(s)))
	return append(b, s...)
}
