package clickhouse

import (
	"testing"

	"syncline/schemas/canonical"
)

func order(id, account string, version int64) *canonical.OrderRecord {
	r := &canonical.OrderRecord{Envelope: canonical.Envelope{EntityID: id, Version: version, System: "crm", NativeID: id}}
	if account != "" {
		r.AccountID = &account
	}
	return r
}

func TestMigrateTwice(t *testing.T) {
	w := open(t)
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWriteOrder(t *testing.T) {
	w := open(t)
	o := order("o1", "a1", 1)
	o.Net, o.Tax, o.Gross, o.Currency, o.Number = cents(45243), cents(8596), cents(53839), ptr("EUR"), ptr("S-1")
	o.OrderDate, o.CreatedAt, o.UpdatedAt = ptr(int32(20779)), at(1, 2, 3), ptr(*at(4, 5, 6)+7)
	o.Lines = []canonical.Line{{NativeID: "1", ProductID: ptr("p"), Quantity: cents(500), UnitPrice: cents(1)}, {NativeID: "2"}}
	write(t, w, "canonical.order", part(t, 0, 10, o))
	wants(t, w, "system, native_id, account_id, deal_id, number, net, tax, gross, currency, order_date, created_at, updated_at, version", "orders",
		"crm|o1|a1|NULL|S-1|452.43|85.96|538.39|EUR|2026-11-22|2026-11-22 01:02:03.000000|2026-11-22 04:05:06.000007|1")
	wants(t, w, "parent_native_id, native_id, product_code, quantity, unit_price", "order_lines ORDER BY native_id", "o1|1|NULL|5|0.01", "o1|2|NULL|NULL|NULL")
}
