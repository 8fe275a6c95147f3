package clickhouse

import (
	"fmt"
	"sync"
	"testing"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

func TestMigrateByTwoAtOnce(t *testing.T) {
	a := openBare(t)
	b := openBare(t, func(o *Options) { o.Database = a.opts.Database })
	var wg sync.WaitGroup
	for _, w := range []*Writer{a, b, a, b} {
		wg.Go(func() {
			if err := w.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	write(t, a, "canonical.order", part(t, 0, 0, order("a", "x", 1)))
	wants(t, b, "native_id", "orders", "a")
}

// Every topic at once from one writer.
func TestTopicsSideBySide(t *testing.T) {
	w := open(t)
	var wg sync.WaitGroup
	for topic := range one(1) {
		wg.Go(func() {
			for i := range int64(5) {
				if err := w.Write(t.Context(), batch(topic, part(t, 0, i, one(i + 1)[topic]))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wants(t, w, "version", "deals", "5")
	wants(t, w, "version", "orders", "5")
}

// invoices makes n invoices with two lines each.
func invoices(tb testing.TB, n int, version int64) change.Part {
	tb.Helper()
	enc := encoder(tb)
	p := change.Part{Partition: 0, First: version * 1_000_000, Last: version*1_000_000 + int64(n) - 1}
	for i := range n {
		id := fmt.Sprintf("%08x-0000-5000-8000-%012x", i*7919, i)
		rec := &canonical.InvoiceRecord{
			Envelope: canonical.Envelope{EntityID: id, AccountID: ptr(fmt.Sprintf("%08x-0000-5000-8000-%012x", i%5000*104729, i%5000)), Version: version, System: "erp", NativeID: fmt.Sprint(i), UpdatedAt: at(1, 2, 3), SourcePosition: ptr("0/123456/1/0")},
			DealID:   &id, State: ptr("posted"), Phase: ptr("posted"), Number: ptr("INV-1"), Kind: "invoice", InvoiceDate: ptr(int32(20779)), OrderNumber: ptr("S-1"),
			Net: cents(45243), Tax: cents(8596), Gross: cents(53839), Paid: cents(0), Currency: ptr("EUR"), CreatedAt: at(1, 2, 3),
			Lines: []canonical.Line{{NativeID: "1", ProductID: &id, Quantity: cents(100), UnitPrice: cents(45243)}, {NativeID: "2", ProductID: &id, Quantity: cents(100), UnitPrice: cents(1)}},
		}
		p.Records = append(p.Records, change.Record{Offset: p.First + int64(i), Value: encode(tb, enc, rec)})
	}
	return p
}

func BenchmarkWriteInvoices(b *testing.B) {
	w := open(b)
	const n = 5000
	version := int64(1)
	p := invoices(b, n, version)
	b.ReportAllocs()
	for b.Loop() {
		// Other ranges, so that no insert is a repetition.
		p.First += 10 * n
		p.Last += 10 * n
		for i := range p.Records {
			p.Records[i].Offset += 10 * n
		}
		if err := w.Write(b.Context(), batch("canonical.invoice", p)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
}

// Reading 100,000 invoices, three versions of each, through the views.
func BenchmarkViews(b *testing.B) {
	w := open(b)
	for v := range int64(3) {
		write(b, w, "canonical.invoice", invoices(b, 100_000, v+1))
	}
	for _, v := range []string{"invoices", "invoice_lines"} {
		b.Run(v, func(b *testing.B) {
			for b.Loop() {
				if got := ask(b, w, "[toString(count()), toString(uniqExact(account_id)), toString(sum(version))] AS row FROM "+v); got == "" {
					b.Fatal("no answer")
				}
			}
		})
	}
	b.Run("resume", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.Resume(b.Context(), "canonical.invoice", []int32{0, 1, 2, 3}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
