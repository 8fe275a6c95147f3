package run

import (
	"testing"
	"time"
)

func TestOneHopCountsEveryRecordOnce(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 1000, 37, "a")
	r := w.start(w.config(), w.countHop(in, nil))
	w.wait("the transform runs", 10*time.Second, func() bool { return len(r.tr.Status().Hops) > 0 })
	r.waitIdle(20 * time.Second)
	w.produce(in, toyPartitions, 1000, 37, "b")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	// 1000 is not a multiple of 37, so count each round's remainder apart.
	total := map[int]int{}
	for i := range 1000 {
		total[i%37] += 2
	}
	w.checkTotals(w.topic("counts"), total)
}

func TestChainAcrossRestarts(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	total := map[int]int{}
	for range 3 {
		r := w.start(w.config(), hops...)
		w.produce(in, toyPartitions, 500, 50, "x")
		for i := range 500 {
			total[i%50]++
		}
		w.wait("the transform runs", 10*time.Second, func() bool { return len(r.tr.Status().Hops) > 0 })
		r.waitIdle(20 * time.Second)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	w.checkTotals(w.topic("counts"), total)
}
