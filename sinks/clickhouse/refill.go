package clickhouse

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"syncline/schemas/change"
)

// Source is the topic that a table is filled from.
type Source interface {
	// Read hands over what is committed when it is called and was not handed over
	// before, from the topic's start on. The parts of a partition join without
	// gaps, over calls too. It returns the number of records.
	Read(ctx context.Context, each func(change.Batch) error) (int64, error)
}

// Refills are the tables that can be filled anew from their topics while the sink
// runs, by their records' names in schemas/avsc: those that show the newest
// version of each key, which is what compaction leaves in a topic.
func Refills() []string {
	var names []string
	for _, t := range targets() {
		if t.layout().keep == newest {
			names = append(names, t.of())
		}
	}
	return names
}

// Standing is how a table stands before it is filled anew.
type Standing struct {
	Table   string
	There   bool
	Rows    int64    // in its parts: deletions and versions not merged away yet count too
	Foreign []string // columns that this version does not know, which go
	Left    []string // what refills have left that were cut off
}

// Look says how the table of a record stands, or why it must not be replaced.
func (w *Writer) Look(ctx context.Context, record string) (Standing, error) {
	t, err := w.refillable(record)
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Table: t.name()}
	if s.Left, err = w.beside(ctx, t.name(), ""); err != nil {
		return s, err
	}
	rows, err := w.strings(ctx, "SELECT engine, toString(ifNull(total_rows, 0)) FROM system.tables WHERE database = '"+w.opts.Database+"' AND name = '"+t.name()+"'")
	if err != nil || len(rows) == 0 {
		return s, err
	}
	s.There = true
	if s.Rows, err = strconv.ParseInt(rows[0][1], 10, 64); err != nil {
		return s, w.fault("looking at", t.name(), "", err)
	}
	// One with copies on other servers is known to these by its path, and another
	// one in its place would not be.
	if engine := rows[0][0]; engine != "ReplacingMergeTree" && engine != "SharedReplacingMergeTree" {
		return s, w.broken("rebuilding", t.name(), "", "only a table as the sink makes it is replaced", "stop the pipelines, TRUNCATE the table and start them: the sink fills an empty table from its topic", fmt.Errorf("its engine is %s", engine))
	}
	columns, err := w.strings(ctx, "SELECT name FROM system.columns WHERE database = '"+w.opts.Database+"' AND table = '"+t.name()+"'")
	if err != nil {
		return s, err
	}
	l := t.layout()
	for _, c := range columns {
		if !slices.ContainsFunc(l.columns, func(d definition) bool { return d.name == c[0] }) {
			s.Foreign = append(s.Foreign, c[0])
		}
	}
	return s, nil
}

func (w *Writer) refillable(record string) (target, error) {
	for _, t := range targets() {
		if t.of() == record && t.layout().keep == newest {
			return t, nil
		}
	}
	return nil, w.broken("rebuilding", record, "", "only a table that shows the newest version of each key can be filled from its topic", "use one of "+strings.Join(Refills(), ", "), nil)
}

// A hold keeps the sink out of a table: a constraint that no row meets, with the
// server's time in its name. What the sink is refused it sends again.
const (
	holdName = "rebuild_hold_"

	// holdTime bounds how long the table waits at the swap, holdLasts how long it
	// waits for one that was cut off.
	holdTime  = 40 * time.Second
	holdLasts = time.Minute
)

// besideName follows a table's name in those of its refills.
const besideName = "_rebuild_"

// refill is one table being filled anew.
type refill struct {
	w      *Writer
	table  string // that serves
	shadow string // that is being filled; once swapped, the old one
	topic  string
	into   *slot
	from   Source
	say    func(format string, args ...any)
}

// Refill fills the table of a record anew from its topic, beside the one that
// serves and beside a running sink, and puts it in its place. It returns the
// number of records read.
//
// Wherever it is cut off, what serves is whole: the old table, or the new one
// with all that the old one ever took. Before the two are exchanged the old one
// is held, so that the sink's inserts are refused; what is committed then is
// read to its end; so whatever the sink had written before, the new table has,
// and the sink's next insert, which begins at or below that end, goes into the
// new one. Of an insert that was under way at the hold the old table may take the
// rows later still: they were committed before, and are in both.
//
// Of two refills of one table the later one wins: it drops the other's table,
// without which the other cannot exchange.
func (w *Writer) Refill(ctx context.Context, record string, from Source, say func(format string, args ...any)) (int64, error) {
	if _, err := w.Look(ctx, record); err != nil {
		return 0, err
	}
	t, err := w.refillable(record)
	if err != nil {
		return 0, err
	}
	r := &refill{w: w, table: t.name(), topic: w.opts.Topic(record), from: from, say: say}
	var id [4]byte
	_, _ = rand.Read(id[:]) // it does not fail
	r.shadow = r.table + besideName + hex.EncodeToString(id[:])
	t = t.as(r.shadow)
	ins, err := t.inserter(r.topic, w.schemas)
	if err != nil {
		return 0, w.fault("rebuilding", r.table, "", err)
	}
	r.into = &slot{record: record, name: r.shadow, ins: ins}
	n, err := r.run(ctx, t.layout())
	return n, w.fault("rebuilding", r.table, "", err)
}

func (r *refill) run(ctx context.Context, l layout) (n int64, err error) {
	if err := r.w.release(ctx, r.table, r.shadow, 0); err != nil {
		return 0, err
	}
	if err := r.w.conn.Exec(ctx, l.create(r.w.opts.Database)); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil { // as if it had never been, where the server still answers
			after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			_ = r.w.release(after, r.table, "", 0) // the next one does the same
		}
	}()
	// While the long part is read the pipelines go on; what is left for the hold is
	// to be little.
	const little, rounds = 2000, 20
	for range rounds {
		read, err := r.from.Read(ctx, r.write(ctx))
		n += read
		if err != nil {
			return n, err
		}
		if read <= little {
			break
		}
	}
	r.say("%d records are read; exchanging the tables", n)
	last, err := r.swap(ctx)
	if err != nil {
		return n, err
	}
	return n + last, r.w.drop(ctx, r.shadow)
}

// write puts batches into the new table, again where the server had no time.
func (r *refill) write(ctx context.Context) func(change.Batch) error {
	return func(b change.Batch) error {
		pieces, err := split(b, r.w.opts.MaxRows, r.w.opts.MaxBytes)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			for try := 0; ; try++ {
				if err = r.w.fault("filling", r.shadow, p.String(), r.w.insert(ctx, r.into, r.topic, p)); err == nil {
					break
				}
				if try == 4 || errors.Is(err, ErrPermanent) || !pause(ctx, time.Second<<try) {
					return r.unlessDropped(ctx, err)
				}
			}
		}
		return nil
	}
}

// unlessDropped says so where another refill has begun meanwhile.
func (r *refill) unlessDropped(ctx context.Context, err error) error {
	if has, asked := r.w.beside(ctx, r.table, ""); asked == nil && !slices.Contains(has, r.shadow) {
		return r.w.broken("rebuilding", r.table, "", "of two rebuilds of one table the later one goes on", "leave it to the other, or begin again", errors.New("another rebuild of it has begun, or this one held the table for too long"))
	}
	return err
}

// swap reads the rest while the table is held, and exchanges.
func (r *refill) swap(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	// Whoever else could exchange no longer can.
	if err := r.w.release(ctx, r.table, r.shadow, 0); err != nil {
		return 0, err
	}
	there, err := r.hold(ctx)
	if err != nil {
		return 0, err
	}
	n, err := r.from.Read(ctx, r.write(ctx))
	if err != nil {
		return n, err
	}
	database := r.w.opts.Database + "."
	exchange := "EXCHANGE TABLES " + database + r.shadow + " AND " + database + r.table
	if !there { // if it is there by now, this fails
		exchange = "RENAME TABLE " + database + r.shadow + " TO " + database + r.table
	}
	if err := r.w.conn.Exec(ctx, exchange); err != nil {
		return n, r.unlessDropped(ctx, err)
	}
	return n, nil
}

// hold keeps the sink from writing into the table, and says whether there is one.
func (r *refill) hold(ctx context.Context) (there bool, err error) {
	now, err := r.w.strings(ctx, "SELECT toString(toUnixTimestamp(now())) FROM system.tables WHERE database = '"+r.w.opts.Database+"' AND name = '"+r.table+"'")
	if err != nil || len(now) == 0 {
		return false, err
	}
	if err := r.w.conn.Exec(ctx, "ALTER TABLE "+r.w.opts.Database+"."+r.table+" ADD CONSTRAINT "+holdName+now[0][0]+" CHECK 0"); err != nil {
		return false, err
	}
	return true, nil
}

// releaseDead lifts the holds of refills that were cut off, of all tables.
func (w *Writer) releaseDead(ctx context.Context) error {
	held, err := w.strings(ctx, "SELECT name FROM system.tables WHERE database = '"+w.opts.Database+"' AND position(create_table_query, '"+holdName+"') > 0")
	if err != nil {
		return err
	}
	for _, t := range targets() {
		if slices.ContainsFunc(held, func(row []string) bool { return row[0] == t.name() }) {
			if err := w.release(ctx, t.name(), "", holdLasts); err != nil {
				return err
			}
		}
	}
	return nil
}

// release lifts what refills of a table have left that is at least so old: first
// their tables go, without which none of them can exchange any more, then the
// holds. It leaves the refill keep alone.
func (w *Writer) release(ctx context.Context, table, keep string, age time.Duration) error {
	held, err := w.holds(ctx, table, age)
	if err != nil || len(held) == 0 && age > 0 {
		return err
	}
	left, err := w.beside(ctx, table, keep)
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := w.drop(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range held {
		if err := w.conn.Exec(ctx, "ALTER TABLE "+w.opts.Database+"."+table+" DROP CONSTRAINT IF EXISTS "+name); err != nil {
			return err
		}
		w.opts.Logger.WarnContext(ctx, "lifted the hold of a rebuild that was cut off", "database", w.opts.Database, "table", table)
	}
	return nil
}

// holds are the names of a table's holds that are at least so old.
func (w *Writer) holds(ctx context.Context, table string, age time.Duration) ([]string, error) {
	rows, err := w.strings(ctx, "SELECT arrayJoin(extractAll(create_table_query, '"+holdName+"[0-9]+')) AS held FROM system.tables WHERE database = '"+w.opts.Database+"' AND name = '"+table+
		"' AND now() - toUInt32(substring(held, "+strconv.Itoa(len(holdName)+1)+")) >= "+strconv.Itoa(int(age/time.Second)))
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r[0]
	}
	return names, err
}

// beside are the tables of refills of a table, but for one.
func (w *Writer) beside(ctx context.Context, table, but string) ([]string, error) {
	rows, err := w.strings(ctx, "SELECT name FROM system.tables WHERE database = '"+w.opts.Database+"' AND startsWith(name, '"+table+besideName+"') AND name != '"+but+"' ORDER BY name")
	var names []string
	for _, r := range rows {
		names = append(names, r[0])
	}
	return names, err
}

// drop drops a table, however large: it is one of a refill's two.
func (w *Writer) drop(ctx context.Context, name string) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_table_size_to_drop": 0}))
	return w.conn.Exec(ctx, "DROP TABLE IF EXISTS "+w.opts.Database+"."+name+" SYNC")
}

// pause waits, and says whether the context lasts.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
