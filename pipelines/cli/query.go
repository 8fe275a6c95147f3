package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"syncline/deploy/embedded/chfront"
)

func (a *app) queryCommand() *cobra.Command {
	var most int
	c := &cobra.Command{
		Use: "query \"SQL\"", GroupID: "understand", Short: "Ask ClickHouse", Args: cobra.ExactArgs(1),
		Long: `Runs one read-only SQL statement in the database of the views: accounts,
identity_links, products, opportunities, orders, subscriptions, invoices,
payments, their *_lines, deals, facts, kpi_daily, feed_health, letters.`,
		Example: `  syncline query "SELECT stage, count(), sum(amount) FROM deals GROUP BY stage"
  syncline query "SELECT * FROM deals WHERE order_number = '24'" -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			if err := chfront.OnlyReads(args[0]); err != nil {
				return a.queryFailure(&ch.Exception{Message: err.Error()})
			}
			conn, err := a.clickhouse()
			if err != nil {
				return err
			}
			defer conn.Close()
			t, cut, err := query(cmd.Context(), conn, args[0], most)
			if err != nil {
				return a.queryFailure(err)
			}
			summary := count(len(t.Rows), "row")
			if cut {
				summary = fmt.Sprintf("the first %d rows; --limit shows more", most)
			}
			return a.answer("query", summary, t, t)
		},
	}
	c.Flags().IntVar(&most, "limit", 1000, "most rows to print")
	return c
}

func (a *app) queryFailure(err error) error {
	if e, ok := errors.AsType[*ch.Exception](err); ok {
		return input("query.sql", "correct the statement; `syncline query \"SHOW TABLES\"` lists the views", "%s", e.Message)
	}
	return a.clickhouseFailure(err)
}

// clickhouseFailure says where ClickHouse was looked for, if it cannot be reached.
func (a *app) clickhouseFailure(err error) error {
	if _, ok := errors.AsType[net.Error](err); ok {
		return environment("clickhouse.unreachable", "start it (`syncline up`) or give --clickhouse", "asking ClickHouse at %s: %w", a.settings.ClickHouse, root(err))
	}
	return err
}

// root is the network's own error: what wraps it repeats the address, and could
// show more of a URL than a user wants to see.
func root(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	return err
}

// clickhouse opens a connection to the database of the views that only reads: as
// the reader of the embedded ClickHouse; elsewhere by a setting that no statement
// can take back, whatever the user may do otherwise.
func (a *app) clickhouse() (driver.Conn, error) {
	s := &a.settings
	auth := ch.Auth{Database: s.Database, Username: s.ClickHouseUser, Password: string(s.ClickHousePassword)}
	if a.reader != nil {
		auth.Username, auth.Password = a.reader.Name, a.reader.Password
	}
	conn, err := ch.Open(&ch.Options{
		Addr: []string{s.ClickHouse}, Protocol: ch.HTTP, DialTimeout: 5 * time.Second, ReadTimeout: time.Minute,
		Auth:     auth,
		Settings: ch.Settings{"readonly": "1"},
	})
	if err != nil {
		return nil, input("config.clickhouse", "correct --clickhouse", "%w", err)
	}
	return conn, nil
}

// query returns at most most rows as text; cut says that there were more.
func query(ctx context.Context, conn driver.Conn, sql string, most int, args ...any) (t Table, cut bool, err error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return t, false, err
	}
	defer rows.Close()
	t.Columns = rows.Columns()
	dest := make([]any, len(t.Columns))
	for i, c := range rows.ColumnTypes() {
		dest[i] = reflect.New(c.ScanType()).Interface()
	}
	for rows.Next() {
		if len(t.Rows) == most {
			return t, true, nil
		}
		if err := rows.Scan(dest...); err != nil {
			return t, false, fmt.Errorf("reading a row: %w", err)
		}
		cells := make([]string, len(dest))
		for i, d := range dest {
			cells[i] = cell(reflect.ValueOf(d).Elem())
		}
		t.Rows = append(t.Rows, cells)
	}
	return t, false, rows.Err()
}

func cell(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return null
		}
		return cell(v.Elem())
	}
	switch x := v.Interface().(type) {
	case time.Time:
		if x.Hour() == 0 && x.Minute() == 0 && x.Second() == 0 && x.Nanosecond() == 0 {
			return x.Format(time.DateOnly)
		}
		return x.UTC().Format("2006-01-02 15:04:05.000000")
	case fmt.Stringer:
		return x.String()
	case []byte:
		return string(x)
	}
	if v.Kind() == reflect.Slice {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = cell(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// scratch opens a connection that may make a database of its own, for the
// oracle.
func (a *app) scratch() (driver.Conn, error) {
	s := &a.settings
	conn, err := ch.Open(&ch.Options{
		Addr: []string{s.ClickHouse}, Protocol: ch.HTTP, DialTimeout: 5 * time.Second, ReadTimeout: 5 * time.Minute,
		Auth: ch.Auth{Database: "default", Username: s.ClickHouseUser, Password: string(s.ClickHousePassword)},
	})
	if err != nil {
		return nil, input("config.clickhouse", "correct --clickhouse", "%w", err)
	}
	return conn, nil
}
