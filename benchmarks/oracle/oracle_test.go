package oracle

import (
	"os"
	"sync"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"syncline/deploy/embedded/chtest"
)

var chAddr string

func TestMain(m *testing.M) { os.Exit(chtest.Main(m, &chAddr)) }

func connect(t *testing.T) driver.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{chAddr}, Protocol: clickhouse.HTTP, Auth: clickhouse.Auth{Database: "default"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

var recordedOnce sync.Map // recording → func() (Expected, error)

// expectRecorded computes a recording's expectation once for all tests; they
// must not change it.
func expectRecorded(t *testing.T, name string) Expected {
	t.Helper()
	once, _ := recordedOnce.LoadOrStore(name, sync.OnceValues(func() (Expected, error) {
		return ExpectRecorded(t.Context(), connect(t), recordingDir(name), 1)
	}))
	e, err := once.(func() (Expected, error))()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRecordedFigures(t *testing.T) {
	for _, c := range []struct {
		recording string
		rows      map[string]int
		parties   map[string]int
	}{
		{
			"debezium-tryton",
			map[string]int{"accounts": 79, "identity_links": 202, "opportunities": 69, "orders": 59, "subscriptions": 59, "invoices": 53, "payments": 37, "deals": 69},
			map[string]int{"crm": 71, "subs": 63, "erp": 68},
		},
		{
			"debezium-tryton-2",
			map[string]int{"accounts": 205, "opportunities": 178, "orders": 153, "subscriptions": 152, "invoices": 150, "payments": 92, "deals": 178},
			map[string]int{"crm": 186, "subs": 160, "erp": 172},
		},
	} {
		t.Run(c.recording, func(t *testing.T) {
			e := expectRecorded(t, c.recording)
			for view, want := range c.rows {
				if got := len(e[view]); got != want {
					t.Errorf("%s has %d rows, want %d", view, got, want)
				}
			}
			parties := map[string]int{}
			for _, r := range e["identity_links"] {
				parties[r["system"]]++
			}
			stages := map[string]int{}
			for _, r := range e["deals"] {
				stages[r["stage"]]++
			}
			t.Logf("parties %v are %d accounts; deals by stage %v", parties, len(e["accounts"]), stages)
			for system, want := range c.parties {
				if parties[system] != want {
					t.Errorf("%d parties of %s, want %d", parties[system], system, want)
				}
			}
			for _, r := range e["kpi_daily"] {
				t.Log(r)
			}
		})
	}
}
