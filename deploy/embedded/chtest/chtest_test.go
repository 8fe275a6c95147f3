package chtest_test

import (
	"os"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"syncline/deploy/embedded/chtest"
)

var addr string //nolint:gochecknoglobals // set by TestMain

func TestMain(m *testing.M) { os.Exit(chtest.Main(m, &addr)) }

func TestAnswers(t *testing.T) {
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{addr}, Protocol: clickhouse.HTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}
