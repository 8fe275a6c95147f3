package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"syncline/pipelines/run"
	"syncline/sinks/clickhouse"
)

func (a *app) checkRegistry(ctx context.Context) []Finding {
	p := a.registry()
	f := Finding{Check: p.name + " " + p.address, Fix: "start it (`syncline up`) or give --registry-url"}
	r, err := a.registryClient()
	if err != nil {
		f.Found = err.Error()
		return []Finding{f}
	}
	defer r.Close()
	subjects, err := r.Subjects(ctx)
	if err != nil {
		f.Found = root(err).Error()
		if known := p.hopeless(err); known != nil {
			f.Fix = known.Fix
		}
		return []Finding{f}
	}
	return []Finding{{Check: f.Check, OK: true, Found: count(len(subjects), "subject")}}
}

// checkClickHouse looks at the server, at the tables, and at what is in them.
func (a *app) checkClickHouse(ctx context.Context) []Finding {
	p := a.clickHouse()
	f := Finding{Check: p.name + " " + p.address, Fix: "start it (`syncline up`) or give --clickhouse"}
	conn, err := a.scratch()
	if err != nil {
		f.Found = err.Error()
		return []Finding{f}
	}
	defer conn.Close()
	var now time.Time
	var there uint64
	asked := time.Now()
	if err := conn.QueryRow(ctx, "SELECT now64(6, 'UTC'), (SELECT count() FROM system.databases WHERE name = $1)", a.settings.Database).Scan(&now, &there); err != nil {
		f.Found = a.clickhouseFailure(err).Error()
		return []Finding{f}
	}
	out := []Finding{{Check: f.Check, OK: true, Found: "answers"}, clockFinding("here and ClickHouse", asked.Add(time.Since(asked)/2).Sub(now))}
	out = append(out, a.checkSpace(ctx, conn)...)
	if there == 0 {
		return append(out, Finding{Check: "database " + a.settings.Database, OK: true, Warning: true, Found: "is absent", Fix: "the first `syncline run` makes it; else correct --database"})
	}
	return append(append(out, a.checkTables(ctx)...), a.checkLetters(ctx, conn)...)
}

func clockFinding(between string, apart time.Duration) Finding {
	const most = 2 * time.Second
	f := Finding{Check: "clocks", OK: true, Found: fmt.Sprintf("%s: %s apart", between, apart.Abs().Round(10*time.Millisecond))}
	if apart.Abs() > most {
		f.Warning, f.Fix = true, "set both clocks by NTP: the ages that views show would be wrong by as much"
	}
	return f
}

func (a *app) checkTables(ctx context.Context) []Finding {
	schemas, err := a.registryClient()
	if err != nil {
		return nil // checkRegistry says so
	}
	defer schemas.Close()
	w, err := a.openSink(schemas)
	if err != nil {
		return []Finding{{Check: "tables", Found: err.Error(), Fix: "correct the setting it names"}}
	}
	defer w.Close()
	found, err := w.Check(ctx)
	if err != nil {
		f := Finding{Check: "tables", Found: err.Error()}
		if known, ok := errors.AsType[*clickhouse.Error](err); ok {
			f.Fix = known.Fix
		}
		return []Finding{f}
	}
	out := make([]Finding, len(found))
	asks := true
	for i, f := range found {
		out[i] = Finding{Check: "ClickHouse " + f.Subject, OK: f.OK, Warning: f.Warning, Found: f.Text, Fix: f.Fix}
		asks = asks && (f.OK || f.Subject != "tables" && f.Subject != "columns")
	}
	if !asks {
		return out // of a table that is not as it should be no row can be asked
	}
	return append(out, a.checkRows(ctx, w))
}

// sampled is how many records of each end of a partition are looked for in their
// table.
const sampled = 50

// checkRows tells whether what the sink has written is in the tables: not in one
// that somebody emptied.
func (a *app) checkRows(ctx context.Context, w *clickhouse.Writer) Finding {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	untold := func(err error) Finding {
		return Finding{Check: "ClickHouse rows", OK: true, Warning: true, Found: "cannot be told: " + root(err).Error()}
	}
	topics := make([]string, 0, len(clickhouse.Refills()))
	for _, record := range clickhouse.Refills() {
		topics = append(topics, a.names.Record(record))
	}
	keys, err := run.SampleKeys(ctx, a.engine(), sinkName, topics, sampled)
	if err != nil {
		return untold(err)
	}
	f, err := w.CheckKeys(ctx, keys)
	if err != nil {
		return untold(err)
	}
	return Finding{Check: "ClickHouse " + f.Subject, OK: f.OK, Found: f.Text, Fix: f.Fix}
}

// leastFree is the share of a disk below which merges begin to fail.
const leastFree = 0.1

func (a *app) checkSpace(ctx context.Context, conn driver.Conn) (out []Finding) {
	rows, err := conn.Query(ctx, "SELECT name, free_space, total_space FROM system.disks WHERE total_space > 0 AND total_space < 9223372036854775807 ORDER BY name")
	if err != nil {
		return []Finding{{Check: "ClickHouse disk", OK: true, Warning: true, Found: "cannot be told: " + root(err).Error(), Fix: "grant SELECT on system.disks"}}
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var free, total uint64
		if rows.Scan(&name, &free, &total) != nil {
			continue
		}
		f := Finding{Check: "ClickHouse disk " + name, OK: true, Found: fmt.Sprintf("%.1f of %.1f GiB free", float64(free)/(1<<30), float64(total)/(1<<30))}
		if float64(free) < leastFree*float64(total) {
			f.Warning, f.Fix = true, "make room: below a tenth merges begin to fail"
		}
		out = append(out, f)
	}
	if err := rows.Err(); err != nil {
		out = append(out, Finding{Check: "ClickHouse disk", OK: true, Warning: true, Found: "cannot be told: " + root(err).Error()})
	}
	return out
}

// checkLetters counts the open letters by cause, the most frequent first.
func (a *app) checkLetters(ctx context.Context, conn driver.Conn) (out []Finding) {
	rows, err := conn.Query(ctx, "SELECT reason, topic, count(), any(message), fingerprint FROM "+a.settings.Database+".letters WHERE state = 'open' GROUP BY reason, topic, fingerprint ORDER BY count() DESC, reason, topic LIMIT 20")
	if err != nil {
		return []Finding{{Check: "letters", OK: true, Warning: true, Found: "cannot be told: " + root(err).Error(), Fix: "run the pipelines once: they make the views"}}
	}
	defer rows.Close()
	for rows.Next() {
		var reason, topic, message, cause string
		var n uint64
		if err := rows.Scan(&reason, &topic, &n, &message, &cause); err != nil {
			return append(out, Finding{Check: "letters", OK: true, Warning: true, Found: "cannot be read: " + err.Error()})
		}
		if cause == "" { // of an early version
			cause = "--topic " + topic
		}
		out = append(out, Finding{
			Check: "letters " + reason, OK: true, Warning: true, Found: fmt.Sprintf("%d of %s, for example: %s", n, topic, clipped(message, 200)),
			Fix: "mend what the example names: the next good change of the row heals its letter; or have them read again: syncline letters redrive " + cause,
		})
	}
	if err := rows.Err(); err != nil {
		return append(out, Finding{Check: "letters", OK: true, Warning: true, Found: "cannot be read: " + root(err).Error()})
	}
	if len(out) == 0 {
		out = []Finding{{Check: "letters", OK: true, Found: "none is open"}}
	}
	return out
}

func clipped(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
