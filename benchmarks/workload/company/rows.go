package company

import (
	"fmt"
	"strconv"

	"syncline/benchmarks/workload"
)

// meta is what every row has.
type meta struct {
	live     bool
	created  int64 // the column; microseconds, like all times
	modified int64 // the column; 0 is NULL
	commit   instant
	born     instant // commit of the first image of its life
	lives    int
	encoded  []byte // the row as last written, where the replica identity is full
}

// instant is a time of the business; approximate says that it comes from a
// column of a snapshot row.
type instant struct {
	at     int64
	approx bool
}

func (i *instant) earlier(at int64) {
	if i.at == 0 || at < i.at {
		*i = instant{at: at}
	}
}

// object is a row of the model.
type object interface {
	m() *meta
	tab(*Generator) *table
	// row appends the values of all columns.
	row([]val) []val
	// fresh tells the object that its row has a new life, observe that an image
	// of it is committed, snap that its only image so far is a snapshot's.
	fresh()
	observe(now int64)
	snap()
}

func (m *meta) m() *meta      { return m }
func (m *meta) fresh()        {}
func (m *meta) observe(int64) {}
func (m *meta) snap()         {}

// stamps appends the two times of a row.
func (m *meta) stamps(v []val) []val {
	return append(v, val{i: m.created}, val{i: m.modified, null: m.modified == 0})
}

// columnAge is how much earlier than the commit a row's own times are: they are
// the start of the transaction.
const columnAge = 731

// transact begins a transaction: everything until the next one has its commit
// time.
func (g *Generator) transact(sys int) {
	s := g.systems[sys]
	g.now++
	if s.millis {
		g.now = (g.now + 999) / 1000 * 1000
	}
	s.txid++
	s.lastCommit = s.txLSN
	s.order = 0
	s.lsn += 56
	g.tx = s
}

func (g *Generator) insert(o object) {
	m := o.m()
	*m = meta{live: true, created: g.now - columnAge, commit: instant{at: g.now}, born: instant{at: g.now}, lives: m.lives + 1}
	t := o.tab(g)
	if m.lives == 1 && (!g.config.NoTruth || !g.snapshotDone()) {
		t.objects = append(t.objects, o)
	}
	if m.lives > 1 {
		g.seen(CaseRecreated)
	}
	o.fresh()
	o.observe(g.now)
	g.emit(o, t, 'c', false)
}

// update writes a new image. Long texts are left out of it unless newText says
// that this one changes them.
func (g *Generator) update(o object, newText bool) {
	m := o.m()
	m.modified, m.commit = g.now-columnAge, instant{at: g.now}
	o.observe(g.now)
	g.emit(o, o.tab(g), 'u', !newText)
}

func (g *Generator) remove(o object) {
	m := o.m()
	m.live = false
	g.seen(CaseDeleted)
	g.emit(o, o.tab(g), 'd', false)
}

func (g *Generator) snapshotDone() bool { return g.systems[0].streaming }

// emit writes the change into the log of the system and sends its record.
func (g *Generator) emit(o object, t *table, op byte, keepText bool) {
	sys := t.sys
	if sys != g.tx {
		g.err = fmt.Errorf("row of %s outside of a transaction of its system: the simulation is wrong", t.topic)
		return
	}
	m := o.m()
	t.vals = o.row(t.vals[:0])
	sys.lsn += 64 + int64(len(t.vals))*8
	sys.txLSN = sys.lsn
	sys.order++
	if !sys.streaming {
		if t.full {
			m.encoded = t.appendRow(m.encoded[:0], t.vals, false)
		}
		return
	}
	if t.lastTx != sys.txid {
		t.lastTx, t.inTx = sys.txid, 0
	}
	t.inTx++
	s := source{commit: g.now, snapshot: "false", lsn: sys.lsn, txid: sys.txid, order: sys.order, orderHere: t.inTx, previous: sys.lastCommit, op: op}
	g.write(t, m, &s, keepText)
}

// write encodes the change of the row in t.vals and sends it.
func (g *Generator) write(t *table, m *meta, s *source, keepText bool) {
	tr := g.transport
	var room [4096]byte
	key := tr.keep(t.appendKey(frame(room[:0], g.ids[t.schemas[keySchema]]), t.vals))
	b := frame(room[:0], t.valueSchema(g.ids))
	switch {
	case t.full && (s.op == 'u' || s.op == 'd'):
		b = append(append(b, 2), m.encoded...)
	case s.op == 'd':
		b = t.appendKeyOnly(append(b, 2), t.vals)
		g.seen(CaseZeroFilledDelete)
	default:
		b = append(b, 0)
	}
	if s.op == 'd' {
		b = append(b, 0)
	} else {
		b = append(b, 2)
		at := len(b)
		b = t.appendRow(b, t.vals, keepText)
		if t.full {
			m.encoded = append(m.encoded[:0], b[at:]...)
		}
		if keepText {
			g.seenPlaceholder(t)
		}
	}
	b = t.appendBlocks(b, s)
	tail := len(b)
	b = t.appendTail(b, s.op, g.now+3000)
	p := parcel{
		rec: workload.Record{Topic: t.topic, Partition: partition(key[5:]), Key: key, Value: tr.keep(b)},
		tab: t, tail: tail, op: s.op, position: s.lsn,
	}
	switch held := g.held; {
	case g.holdNext:
		g.holdNext, g.held = false, &p
		return
	case held != nil && held.tab == t && string(held.rec.Key) == string(key):
		g.held = nil
		tr.send(p, g.now)
		held.overtaken = true
		tr.send(*held, g.now)
		g.seen(CaseOvertaken)
	default:
		tr.send(p, g.now)
	}
	if s.op == 'd' {
		tr.send(parcel{rec: workload.Record{Topic: t.topic, Partition: p.rec.Partition, Key: key}, tab: t, tombstone: true}, g.now)
	}
	g.disturb(t, p.rec.Value)
}

// updateLate is update for an image that reaches its topic after the row's next
// one, which the caller writes right after it.
func (g *Generator) updateLate(o object) {
	g.holdNext = o.tab(g).sys.streaming
	g.update(o, false)
}

func (g *Generator) seenPlaceholder(t *table) {
	for i := range t.cols {
		if t.cols[i].toast && len(t.vals[i].s) > toastBytes {
			g.seen(CasePlaceholder)
		}
	}
}

// disturb sends, now and then, a record that cannot be processed after a good
// one.
func (g *Generator) disturb(t *table, value []byte) {
	tr := g.transport
	u := tr.rng.Float64()
	r := tr.rates
	letter := func(t *table, key, value []byte, part int32) {
		tr.send(parcel{rec: workload.Record{Topic: t.topic, Partition: part, Key: key, Value: value}, tab: t, letter: true}, g.now)
	}
	switch {
	case u < r.Poison:
		if tr.rng.IntN(8) == 0 {
			g.unmappable(letter)
			g.seen(CaseUnmappable)
			return
		}
		key, bad := tr.spoil(t, t.vals, value, g.ids[t.schemas[keySchema]])
		part := int32(0)
		if len(key) > 5 {
			part = partition(key[5:])
		}
		letter(t, key, bad, part)
		g.seen(CasePoison)
	case u < r.Poison+r.Oversized:
		g.oversized(letter)
		g.seen(CaseOversized)
	case u < r.Poison+r.Oversized+r.UnknownSchema:
		own := g.ownID()
		key := g.t.orders.appendKey(frame(nil, g.ids[g.t.orders.schemas[keySchema]]), []val{{i: own}})
		letter(g.t.orders, key, append(frame(nil, 1<<30+int(own&0xff)), value[5:]...), partition(key[5:]))
		g.seen(CaseUnknownSchema)
	}
}

// ownID is an id that no row has.
func (g *Generator) ownID() int64 { return 1<<40 + g.transport.rng.Int64N(1<<40) }

// lone encodes an insert of a row that is not of the model.
func (g *Generator) lone(t *table, vals []val) (key, value []byte) {
	key = t.appendKey(frame(nil, g.ids[t.schemas[keySchema]]), vals)
	b := append(frame(nil, t.valueSchema(g.ids)), 0, 2)
	b = t.appendRow(b, vals, false)
	s := source{commit: g.now, snapshot: "false", lsn: t.sys.lsn, txid: t.sys.txid, order: t.sys.order + 1, orderHere: 1, previous: t.sys.lastCommit, op: 'c'}
	b = t.appendBlocks(b, &s)
	return key, t.appendTail(b, 'c', g.now+3000)
}

// unmappable sends a good record whose state is a word that no catalog knows.
func (g *Generator) unmappable(send func(*table, []byte, []byte, int32)) {
	b := &bill{id: g.ownID(), kind: kindBill, status: "zombie", currency: "EUR"}
	b.created = g.now
	key, value := g.lone(g.t.bills, b.row(nil))
	send(g.t.bills, key, value, partition(key[5:]))
}

// oversized sends a good record over the limit.
func (g *Generator) oversized(send func(*table, []byte, []byte, int32)) {
	big := make([]byte, g.config.OversizedBytes)
	for i := range big {
		big[i] = 'a' + byte(i%23)
	}
	o := &order{id: g.ownID(), customer: &customer{id: 1}, code: "SO-" + strconv.FormatInt(g.now, 10), status: orderOpen, currency: "EUR", notes: string(big)}
	o.created = g.now
	key, value := g.lone(g.t.orders, o.row(nil))
	send(g.t.orders, key, value, partition(key[5:]))
}

// snapshotRow is a row to be written as op r.
type snapshotRow struct {
	o     object
	place string // Debezium's word for the row's place in the snapshot
}

// takeSnapshot ends the time before the connectors: what lives is written as
// snapshot rows, system by system and table by table.
func (g *Generator) takeSnapshot() {
	for _, s := range g.systems {
		var own []snapshotRow
		for _, t := range g.tables {
			if t.sys != s {
				continue
			}
			from := len(own)
			for _, o := range t.objects {
				if o.m().live {
					own = append(own, snapshotRow{o, "true"})
				}
			}
			if len(own) > from {
				own[from].place = "first_in_data_collection"
				own[len(own)-1].place = "last_in_data_collection"
			}
			if g.config.NoTruth {
				t.objects = nil
			}
		}
		if len(own) > 0 {
			own[0].place, own[len(own)-1].place = "first", "last"
		}
		g.snapshots = append(g.snapshots, own...)
		s.lsn += 4096
		s.snapshotLSN = s.lsn
		s.streaming = true
	}
}

func (g *Generator) writeSnapshotRow() {
	r := g.snapshots[0]
	g.snapshots = g.snapshots[1:]
	if len(g.snapshots) == 0 {
		g.snapshots = nil
	}
	g.now++
	m, t := r.o.m(), r.o.tab(g)
	m.commit = instant{m.created, true}
	if m.modified != 0 {
		m.commit.at = m.modified
	}
	m.born = instant{m.created, true}
	r.o.snap()
	t.vals = r.o.row(t.vals[:0])
	g.seen(CaseSnapshot)
	s := source{commit: g.now / 1000 * 1000, snapshot: r.place, lsn: t.sys.snapshotLSN, txid: t.sys.txid, op: 'r'}
	g.write(t, m, &s, false)
}
