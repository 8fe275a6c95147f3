package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"syncline/pipelines/run"
	"syncline/schemas/change"
	"syncline/sinks/clickhouse"
)

// kindTable is the record of a table that was filled anew; its body is the
// entity. No task obeys it.
const kindTable = "rebuild.table"

// everything is what `rebuild` computes anew from the sources, no table's name.
const everything = "all"

// notFilled says of the tables that no compacted topic can give back what they
// are, and what is done instead.
func notFilled(name string) (why, fix string) {
	const stopped = "with the pipelines stopped, TRUNCATE TABLE %s; the sink fills an empty table from its topic at the next start"
	switch name {
	case "identity_link", "identity_links", "identity_link_history":
		return "identity_link_history is what was published when, and the compacted topic has the last version of each link alone",
			"restore canonical_identity_link from a backup; or give the history up: " + fmt.Sprintf(stopped, "canonical_identity_link")
	case "letter", "letters":
		return "a letter is no canonical record: it changes when it heals or somebody works it, and is not replaced beside that", fmt.Sprintf(stopped, "letters_raw")
	case "feed", "feeds", "feed_health":
		return "what feeds count begins anew with each `rebuild all`, and the table keeps the greater count", fmt.Sprintf(stopped, "feeds_raw")
	}
	return "", ""
}

// tablePlan is what the rebuild of one table would do.
type tablePlan struct {
	Entity  string   `json:"entity"`
	Topic   string   `json:"topic"`
	Table   string   `json:"table"`
	There   bool     `json:"there"`
	Rows    int64    `json:"rows"`              // in it now; deletions and old versions count too
	Records int64    `json:"records"`           // to be read, at most
	Foreign []string `json:"foreign,omitempty"` // columns that are not ours, and go
	Left    []string `json:"left,omitempty"`    // of rebuilds that were cut off, and go
	Hash    string   `json:"hash"`
	Read    int64    `json:"read,omitempty"`
	Shown   int64    `json:"shown,omitempty"` // rows afterwards
}

func (p *tablePlan) String() string {
	what := fmt.Sprintf("%s: fill it anew from %s beside the %s there now, and exchange the two", p.Table, count(int(p.Records), "record"), count(int(p.Rows), "row"))
	if !p.There {
		what = fmt.Sprintf("%s is absent: fill it from %s", p.Table, count(int(p.Records), "record"))
	}
	if len(p.Foreign) > 0 {
		what += fmt.Sprintf("; its columns %s are not ours and go", strings.Join(p.Foreign, ", "))
	}
	return what
}

// hash names what is agreed to, and not what comes while somebody thinks.
func (p *tablePlan) hash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %t %q", p.Topic, p.Table, p.There, p.Foreign))
	return hex.EncodeToString(sum[:6])
}

// rebuildTable fills one table anew from its topic, beside running pipelines.
func (a *app) rebuildTable(ctx context.Context, entity, apply, why string) error {
	schemas, err := a.registryClient()
	if err != nil {
		return err
	}
	defer schemas.Close()
	sink, err := a.openSink(schemas)
	if err != nil {
		return err
	}
	defer sink.Close()
	p := &tablePlan{Entity: entity, Topic: a.names.Record(entity)}
	if err := a.planTable(ctx, sink, p); err != nil {
		return err
	}
	again := "syncline rebuild " + entity
	if agreed, err := a.agree("rebuild", again, p.String(), p.Hash, apply, p, Table{}); !agreed {
		return err
	}
	failed := func(err error) error {
		if errors.Is(err, context.Canceled) {
			return failure(ExitFailed, "rebuild.cut_off", again+" begins it anew", "the table that serves is whole; %w", err)
		}
		return environment("rebuild.failed", "mend what it says; "+again+" begins it anew", "%w", err)
	}
	i := run.Instruction{Kind: kindTable, Hop: sinkName, Topic: p.Topic, Who: whoever(), Why: why, Plan: p.Hash, Body: []byte(entity)}
	if _, err = run.Instruct(ctx, a.engine(), i); err != nil {
		return failed(err)
	}
	scan, err := run.NewScan(ctx, a.engine(), p.Topic)
	if err != nil {
		return failed(err)
	}
	defer scan.Close()
	if p.Read, err = sink.Refill(ctx, entity, &watchedScan{scan, a, p.Records, 0}, a.say); err != nil {
		return failed(err)
	}
	after, err := sink.Look(ctx, entity)
	if err != nil {
		return failed(err)
	}
	p.Shown = after.Rows
	return a.answer("rebuild", fmt.Sprintf("%s is filled anew: %s read, %s in it", p.Table, count(int(p.Read), "record"), count(int(p.Shown), "row")), p)
}

// planTable looks, and changes nothing.
func (a *app) planTable(ctx context.Context, sink *clickhouse.Writer, p *tablePlan) error {
	s, err := sink.Look(ctx, p.Entity)
	if err != nil {
		if e, ok := errors.AsType[*clickhouse.Error](err); ok && e.Permanent() {
			return input("rebuild.refused", e.Fix, "%w", err)
		}
		return a.clickhouseFailure(err)
	}
	p.Table, p.There, p.Rows, p.Foreign, p.Left = s.Table, s.There, s.Rows, s.Foreign, s.Left
	starts, ends, err := run.Bounds(ctx, a.engine(), []string{p.Topic})
	if err != nil {
		return environment("rebuild.plan", "is the broker up? see `syncline doctor`", "%w", err)
	}
	if len(ends[p.Topic]) == 0 {
		return input("rebuild.refused", "start the pipelines: they make it", "topic %s does not exist: there is nothing to fill %s from", p.Topic, p.Table)
	}
	for partition, start := range starts[p.Topic] {
		if start > 0 {
			return input("rebuild.refused", "syncline rebuild all publishes what differs only; restore the topic, or the table from a backup",
				"%s/%d begins at offset %d: what was deleted before it cannot come from the topic", p.Topic, partition, start)
		}
		p.Records += ends[p.Topic][partition]
	}
	p.Hash = p.hash()
	return nil
}

// watchedScan shows how far it is.
type watchedScan struct {
	scan  *run.Scan
	app   *app
	total int64
	done  int64
}

// Read implements [clickhouse.Source].
func (s *watchedScan) Read(ctx context.Context, each func(change.Batch) error) (int64, error) {
	return s.scan.Read(ctx, func(b change.Batch) error {
		for i := range b.Parts {
			s.done += int64(len(b.Parts[i].Records))
		}
		s.app.progress("%d of at most %d records read", s.done, max(s.total, s.done))
		return each(b)
	})
}

// rebuilds are the arguments of `rebuild`.
func rebuilds() []string { return slices.Concat([]string{everything}, clickhouse.Refills()) }
