package company

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"syncline/benchmarks/workload"
)

// ringSize is how many delivered records of a system can be repeated.
const ringSize = 512

// parcel is a record on its way from database to topic.
type parcel struct {
	rec       workload.Record
	tab       *table
	visible   int64 // when it reaches the topic, microseconds
	seq       uint64
	tail      int // where op begins in the value; 0: nothing that a redelivery changes
	op        byte
	tombstone bool
	letter    bool // cannot be processed
	overtaken bool // arrives after a later image of its row
	position  int64
}

// transport carries records from the databases' logs to the topics: every
// partition in order, partitions against each other as it comes.
type transport struct {
	rates   Transport
	rng     *rand.Rand
	heap    []due
	parcels []parcel
	free    []int32
	seq     uint64
	last    []int64 // by topic and partition: when the last record became visible
	ring    [3][]parcel
	ringAt  [3]int
	replay  []parcel // to be delivered before anything else
	rewind  float64  // probability that a delivered record is followed by a rewind
	slab    []byte
}

func newTransport(rates Transport, seed uint64, topics int) *transport {
	tr := &transport{
		rates: rates, rng: rand.New(rand.NewPCG(seed, 0x7472616e73706f72)),
		last: make([]int64, topics*workload.Partitions),
	}
	if rates.RewindLength > 0 {
		tr.rewind = rates.Redelivered / float64(rates.RewindLength)
	}
	return tr
}

// bytes returns a slice of n bytes to be appended to from its start; slabs keep
// the number of allocations low.
func (tr *transport) bytes(n int) []byte {
	if n > len(tr.slab) {
		if n > 16<<10 {
			return make([]byte, 0, n)
		}
		tr.slab = make([]byte, 256<<10)
	}
	b := tr.slab[:0:n]
	tr.slab = tr.slab[n:]
	return b
}

func (tr *transport) keep(b []byte) []byte { return append(tr.bytes(len(b)), b...) }

// send puts a record on its way at the given time.
func (tr *transport) send(p parcel, now int64) {
	at := p.tab.index*workload.Partitions + int(p.rec.Partition)
	visible := now + 200 + tr.rng.Int64N(40_000)
	if u := tr.rng.Float64(); u < tr.rates.StalledLong {
		visible += int64(time.Hour/time.Microsecond) + tr.rng.Int64N(int64(2*time.Hour/time.Microsecond))
	} else if u < tr.rates.StalledLong+tr.rates.Stalled {
		visible += tr.rng.Int64N(int64(tr.rates.StallFor/time.Microsecond) + 1)
	}
	p.visible = max(visible, tr.last[at])
	tr.last[at] = p.visible
	p.rec.Timestamp = p.visible / 1000
	tr.seq++
	p.seq = tr.seq
	tr.push(p)
}

// due is a parcel's place in the heap: small and without pointers, for it is
// moved about a lot.
type due struct {
	visible int64
	seq     uint64
	slot    int32
}

func (a due) before(b due) bool {
	return a.visible < b.visible || a.visible == b.visible && a.seq < b.seq
}

func (tr *transport) push(p parcel) {
	var slot int32
	if n := len(tr.free); n > 0 {
		slot = tr.free[n-1]
		tr.free = tr.free[:n-1]
		tr.parcels[slot] = p
	} else {
		slot = int32(len(tr.parcels))
		tr.parcels = append(tr.parcels, p)
	}
	tr.heap = append(tr.heap, due{})
	h, d := tr.heap, due{p.visible, p.seq, slot}
	i := len(h) - 1
	for i > 0 && d.before(h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = d
}

func (tr *transport) pop() parcel {
	h := tr.heap
	slot := h[0].slot
	n := len(h) - 1
	d := h[n]
	h = h[:n]
	tr.heap = h
	for i := 0; n > 0; {
		c := 2*i + 1
		if c+1 < n && h[c+1].before(h[c]) {
			c++
		}
		if c >= n || !h[c].before(d) {
			h[i] = d
			break
		}
		h[i] = h[c]
		i = c
	}
	p := tr.parcels[slot]
	tr.parcels[slot] = parcel{}
	tr.free = append(tr.free, slot)
	return p
}

// next returns the next record of a topic, if one is due: now is how far the
// databases have come.
func (tr *transport) next(g *Generator, now int64) (workload.Record, bool) {
	if len(tr.replay) > 0 {
		p := tr.replay[0]
		tr.replay = tr.replay[1:]
		g.seen(CaseRedelivered)
		return p.rec, true
	}
	if len(tr.heap) == 0 || tr.heap[0].visible > now {
		return workload.Record{}, false
	}
	p := tr.pop()
	p.tab.received++
	switch {
	case p.letter:
		p.tab.letters++
	case p.overtaken:
		p.tab.stale++
	}
	sys := p.tab.sys.index
	if len(tr.ring[sys]) < ringSize {
		tr.ring[sys] = append(tr.ring[sys], p)
	} else {
		tr.ring[sys][tr.ringAt[sys]] = p
	}
	tr.ringAt[sys] = (tr.ringAt[sys] + 1) % ringSize
	if tr.rewind > 0 && tr.rng.Float64() < tr.rewind {
		tr.startRewind(g, sys, p.visible)
	}
	return p.rec, true
}

// startRewind repeats the last records of a system, as a connector does that was
// killed before it had stored how far it was: the same positions and commit
// times, other times of its own. In every partition that is a suffix of it.
func (tr *transport) startRewind(g *Generator, sys int, now int64) {
	ring := tr.ring[sys]
	n := min(1+tr.rng.IntN(2*tr.rates.RewindLength-1), len(ring))
	g.seen(CaseRewind)
	restart := now + 2_000_000
	// What is stored of a row is its greatest position. All of a row's records
	// since any repeated one are repeated too, so that it is among them.
	type rowKey struct {
		tab *table
		key string
	}
	stored, deleted := make(map[rowKey]int64, n), make(map[rowKey]bool)
	first := tr.ringAt[sys] - n
	for i := range n {
		p := &ring[(first+i+2*ringSize)%ringSize%len(ring)]
		if !p.letter && !p.tombstone && !p.overtaken {
			key := rowKey{p.tab, string(p.rec.Key)}
			stored[key] = p.position
			if p.op == 'c' && deleted[key] {
				g.seen(CaseRecreatedRedelivered)
			}
			if p.op == 'd' {
				deleted[key] = true
			}
		}
	}
	for i := range n {
		p := ring[(first+i+2*ringSize)%ringSize%len(ring)]
		p.rec.Timestamp = (restart + int64(i)*50) / 1000
		if p.tail > 0 {
			b := append(tr.bytes(len(p.rec.Value)+16), p.rec.Value[:p.tail]...)
			p.rec.Value = p.tab.appendTail(b, p.op, restart+int64(i)*50)
		}
		p.tab.received++
		switch {
		case p.letter:
			p.tab.letters++
		case p.tombstone:
		case !p.overtaken && stored[rowKey{p.tab, string(p.rec.Key)}] == p.position:
			p.tab.repeated++
		default:
			p.tab.stale++
		}
		tr.replay = append(tr.replay, p)
	}
}

// The ways in which a record can be beyond decoding.
const (
	poisonEmpty = iota
	poisonShort
	poisonMagic
	poisonCut
	poisonLength
	poisonUnion
	poisonTrailing
	poisonText
	poisonKey
	poisonNoKey
	poisonWays
)

// spoil returns key and value of a record that nobody can read, made from a good
// one. The key is one that no row has.
func (tr *transport) spoil(t *table, vals []val, value []byte, keyID int) (key, bad []byte) {
	own := make([]val, len(vals))
	copy(own, vals)
	n := int64(1)<<40 + tr.rng.Int64N(1<<40)
	for _, k := range t.keys {
		switch t.cols[k].kind {
		case colLong:
			own[k] = val{i: n}
		case colInt:
			own[k] = val{i: 1<<30 + n%(1<<20)}
		case colUUID:
			own[k] = val{s: uuidOf(tr.rng)}
		}
	}
	key = t.appendKey(frame(nil, keyID), own)
	switch tr.rng.IntN(poisonWays) {
	case poisonEmpty:
		bad = []byte{}
	case poisonShort:
		bad = value[:3]
	case poisonMagic:
		bad = append([]byte{0x7b}, value[1:]...)
	case poisonCut:
		bad = value[:5+tr.rng.IntN((len(value)-5)/2)]
	case poisonLength: // a text of a terabyte right at the start of the row
		bad = append(bytes.Clone(value[:5]), 0, 2)
		bad = binary.AppendVarint(bad, 1<<40)
		bad = binary.AppendVarint(bad, 1<<40)
	case poisonUnion:
		bad = append(bytes.Clone(value[:5]), 0x4a)
		bad = append(bad, value[6:]...)
	case poisonTrailing:
		bad = append(bytes.Clone(value), "and more"...)
	case poisonText:
		bad = []byte(`{"op":"u","after":{"note":"JSON on a topic of Avro"}}`)
	case poisonKey: // key and value: who reads the value only must refuse it too
		key = append(frame(nil, keyID), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
		bad = value[:5+(len(value)-5)/3]
	case poisonNoKey:
		key, bad = nil, value[:5+(len(value)-5)/4]
	}
	return key, bad
}
