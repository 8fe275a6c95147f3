package clickhouse

import (
	"slices"
	"strings"

	"syncline/schemas/canonical"
)

// target is the table of one kind of records.
type target interface {
	of() string
	name() string
	layout() layout
	as(name string) target
	inserter(topic string, schemas canonical.Schemas) (inserter, error)
}

// table ties a kind of records to its table and says how its columns are filled.
type table[R any] struct {
	to      string
	record  string // name in schemas/avsc
	keep    keep
	columns func() []column[R]
	own     func() []column[R] // of an entity: the columns behind the envelope
}

// keep says which rows of a table show.
type keep struct {
	engine, order string
	doc           string
}

// What the tables keep. Rows are only ever added; a view shows the row with the
// greatest version of each key.
var (
	newest = keep{
		engine: "ReplacingMergeTree(version, deleted)", order: "account_id, entity_id",
		doc: "the newest version of each entity under each account; account_id is empty where there is none",
	}
	everyVersion = keep{
		engine: "ReplacingMergeTree(version)", order: "account_id, entity_id, version",
		doc: "every version of each entity under each account: their history",
	}
	// The version of a letter is its offset in the topic of letters: the later
	// one of the same place wins.
	newestLetter = keep{engine: "ReplacingMergeTree(_offset)", order: "topic, partition, offset", doc: "records that could not be processed, the newest state of each"}
	newestCount  = keep{engine: "ReplacingMergeTree(version)", order: "topic, hop, partition", doc: "what each task has counted of each source topic"}
)

func (t table[R]) of() string   { return t.record }
func (t table[R]) name() string { return t.to }

// as is the same table under another name.
func (t table[R]) as(name string) target {
	t.to = name
	return t
}

// all returns every column, those of the place included.
func (t table[R]) all(topic string) []column[R] {
	return append(t.columns(), places[R](topic)...)
}

// canon is the table of a canonical entity.
func canon[R any, P interface {
	*R
	canonical.Versioned
}](entity string, keep keep, own func() []column[R],
) table[R] {
	return table[R]{to: "canonical_" + entity, record: entity, keep: keep, own: own, columns: func() []column[R] {
		return slices.Concat(headColumns[R, P](), own())
	}}
}

// targets returns every table, with columns of its own: they hold buffers.
func targets() []target {
	return []target{
		canon("account", newest, accountColumns),
		canon("identity_link", everyVersion, identityLinkColumns),
		canon("product", newest, productColumns),
		canon("opportunity", newest, opportunityColumns),
		canon("order", newest, orderColumns),
		canon("subscription", newest, subscriptionColumns),
		canon("invoice", newest, invoiceColumns),
		canon("payment", newest, paymentColumns),
		canon("deal", newest, dealColumns),
		table[canonical.LetterRecord]{to: "letters_raw", record: "letter", keep: newestLetter, columns: letterColumns},
		table[canonical.FeedRecord]{to: "feeds_raw", record: "feed", keep: newestCount, columns: feedColumns},
	}
}

// insertStatement names every column it fills, so that a column which a later
// version adds is no obstacle.
func insertStatement(database, table string, names []string) string {
	return "INSERT INTO " + database + "." + table + " (`" + strings.Join(names, "`, `") + "`)"
}
