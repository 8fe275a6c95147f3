// Package chtest gives tests a ClickHouse to talk to over HTTP: the server at
// CLICKHOUSE_ADDR if that is set, else the embedded engine in the test process
// over a temporary directory.
//
// A process holds one engine, so it belongs to TestMain:
//
//	var clickhouseAddr string
//
//	func TestMain(m *testing.M) { os.Exit(chtest.Main(m, &clickhouseAddr)) }
package chtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"syncline/deploy/embedded/chfront"
	"syncline/deploy/embedded/engine"
)

// Main starts ClickHouse, sets *addr to its host:port for clickhouse-go with
// protocol HTTP, runs the tests and returns their exit code. It never skips:
// without an engine the code is 1 and the reason is on stderr.
func Main(m *testing.M, addr *string) int {
	stop, err := Start(addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting ClickHouse for the tests:", err)
		return 1
	}
	defer stop()
	return m.Run()
}

// Start is Main for a TestMain that does more. Stop removes the data.
func Start(addr *string) (stop func(), err error) {
	if given := os.Getenv("CLICKHOUSE_ADDR"); given != "" {
		*addr = given
		return func() {}, nil
	}
	cache, err := engine.UserCache(os.Stderr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	library, err := cache.Library(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "syncline-clickhouse-")
	if err != nil {
		return nil, err
	}
	e, err := engine.Open(library, engine.Config{Dir: dir})
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.Close()
		_ = os.RemoveAll(dir)
		return nil, err
	}
	server := chfront.New(e, chfront.Config{Logins: []engine.Login{{Name: "default"}}}).Server()
	go func() { _ = server.Serve(listener) }()
	*addr = listener.Addr().String()
	return func() {
		_ = server.Close()
		e.Close()
		_ = os.RemoveAll(dir)
	}, nil
}
