package projection_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/twmb/avro"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// What the intake hop wants of an invoice, about.
var invoiceFields = []string{
	"op", "source.lsn", "source.snapshot", "source.ts_us", "transaction.total_order", "before.id",
	"after.id", "after.party", "after.number", "after.state", "after.type", "after.invoice_date", "after.write_date",
}

func invoice(tb testing.TB, want []string) (*projection.Plan, []byte) {
	tb.Helper()
	fd := loadFeed(tb, feeds[0])
	d := fd.longest(tb, "cdc.erp.public.account_invoice", "Envelope")
	plan, err := projection.Compile(fd.schemas[d.id], wantAll(want), projection.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	return plan, d.avro
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	plan, data := invoice(t, invoiceFields)
	out := make([]change.Value, len(invoiceFields))
	if n := testing.AllocsPerRun(1000, func() {
		if err := plan.Decode(data, out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a record, want 0", n)
	}
}

// One plan in many goroutines; what the race detector would object to is the
// point, the values are checked along the way.
func TestPlanIsSafeForConcurrentUse(t *testing.T) {
	plan, data := invoice(t, invoiceFields)
	want := make([]change.Value, len(invoiceFields))
	if err := plan.Decode(data, want); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			out := make([]change.Value, len(want))
			for range 200 {
				if err := plan.Decode(data, out); err != nil || !slices.EqualFunc(out, want, equal) {
					t.Errorf("%v: %v", err, out)
					return
				}
				_ = plan.Decode(data[:20], out)
				_, _ = plan.WriterDefault(6)
			}
		})
	}
	group.Wait()
}

func BenchmarkDecodeInvoice(b *testing.B) {
	for name, want := range map[string][]string{"wanted=13": invoiceFields, "wanted=2": {"op", "source.lsn"}, "wanted=0": nil} {
		b.Run(name, func(b *testing.B) {
			plan, data := invoice(b, want)
			out := make([]change.Value, len(want))
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := plan.Decode(data, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The same record by twmb/avro into a generic value, to compare within one run.
func BenchmarkGenericDecodeInvoice(b *testing.B) {
	fd := loadFeed(b, feeds[0])
	d := fd.longest(b, "cdc.erp.public.account_invoice", "Envelope")
	schema, err := avro.Parse(fd.schemas[d.id])
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(d.avro)))
	b.ReportAllocs()
	for b.Loop() {
		var v any
		if _, err := schema.Decode(d.avro, &v); err != nil {
			b.Fatal(err)
		}
	}
}

// Compiling happens once for each schema id of a topic.
func BenchmarkCompileInvoice(b *testing.B) {
	fd := loadFeed(b, feeds[0])
	d := fd.longest(b, "cdc.erp.public.account_invoice", "Envelope")
	for b.Loop() {
		if _, err := projection.Compile(fd.schemas[d.id], wantAll(invoiceFields), projection.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
