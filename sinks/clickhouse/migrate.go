package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Migrate makes the database and brings its tables and views to this version: it
// adds what is missing, says what everything means, and takes nothing away. It
// is idempotent, and two processes that do it at once do no harm.
func (w *Writer) Migrate(ctx context.Context) error {
	if err := w.createDatabase(ctx); err != nil {
		return atStart(w.fault("creating database", w.opts.Database, "", err))
	}
	s, err := newSchema()
	if err != nil {
		return w.fault("migrating", w.opts.Database, "", err)
	}
	if err := w.reconcile(ctx, s); err != nil {
		return w.fault("migrating", w.opts.Database, "", err)
	}
	if err := w.releaseDead(ctx); err != nil {
		return w.fault("migrating", w.opts.Database, "", err)
	}
	if err := w.applyViews(ctx, s); err != nil {
		return w.fault("migrating", w.opts.Database, "", err)
	}
	foreign, err := w.foreign(ctx)
	if err != nil {
		return err
	}
	if foreign != "" {
		return w.broken("migrating", w.opts.Database, "", oneOwner, oneOwnerFix, errors.New(foreign))
	}
	return nil
}

// addsMissing is what to do where something of the database is missing.
const addsMissing = "start the pipelines: with a user who may create and alter they add what is missing"

// What a database of two sets of pipelines breaks.
const (
	oneOwner    = "a database belongs to the pipelines of one prefix: rows of two would be added up"
	oneOwnerFix = "give each prefix a database of its own"
)

// foreign names a table with rows of a topic that is not this writer's; "" if
// there is none.
func (w *Writer) foreign(ctx context.Context) (string, error) {
	have, err := w.strings(ctx, "SELECT name FROM system.tables WHERE database = '"+w.opts.Database+"'")
	if err != nil {
		return "", err
	}
	var asked []string
	for topic, s := range w.tables {
		if slices.ContainsFunc(have, func(row []string) bool { return row[0] == s.name }) {
			asked = append(asked, "SELECT '"+s.name+"', toString(any(_topic)) FROM "+w.opts.Database+"."+s.name+" WHERE _topic != '"+topic+"' HAVING count() > 0")
		}
	}
	if len(asked) == 0 {
		return "", nil
	}
	rows, err := w.strings(ctx, strings.Join(asked, " UNION ALL "))
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return fmt.Sprintf("table %s has rows of topic %s", rows[0][0], rows[0][1]), nil
}

func (w *Writer) createDatabase(ctx context.Context) (err error) {
	// Not over the writer's own connections: they ask for the database.
	conn, err := clickhouse.Open(w.opts.client("default"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// A user who may not create databases can still use one that is there.
	var there uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM system.databases WHERE name = $1", w.opts.Database).Scan(&there); err != nil {
		return err
	}
	if there > 0 {
		return nil
	}
	return conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+w.opts.Database)
}
