package pipelines_test

import (
	"testing"

	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
)

// BenchmarkSpineInMemory is the CPU of the four hops alone: decoding, operators,
// state and encoding, without Kafka. The workload is the simulated company.
func BenchmarkSpineInMemory(b *testing.B) {
	g, err := company.New(company.Config{Seed: 1, Accounts: 2000, NoTruth: true})
	if err != nil {
		b.Fatal(err)
	}
	schemas := &memorySchemas{hide: map[int]bool{}}
	if err := g.Register(b.Context(), schemas); err != nil {
		b.Fatal(err)
	}
	var records []workload.Record
	for {
		r, ok := g.Next()
		if !ok {
			break
		}
		records = append(records, r)
	}
	c, err := catalog.Load("company")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		spine, err := pipelines.Build(b.Context(), pipelines.Config{Catalog: c, Schemas: schemas})
		if err != nil {
			b.Fatal(err)
		}
		d := run.NewDriver(spine.Hops, workload.Partitions, 1)
		d.Instructions, d.Codec = pipelines.DefaultNames().Instructions, pipelines.Instructions{}
		d.Encode, d.Poll = spine.Letters.Encode, 1000
		for _, r := range records {
			if err := d.Feed(r.Topic, r.Partition, r.Key, r.Value, r.Timestamp); err != nil {
				b.Fatal(err)
			}
		}
		if err := d.Run(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/record")
}
