// Command syncline keeps CRM, subscription and ERP systems telling the same
// story about every order. `syncline help` says what it can do.
package main

import (
	"context"
	"os"
	"os/signal"

	"syncline/deploy/embedded"
	"syncline/pipelines/cli"
)

func main() {
	// The embedded platform starts its broker, registry and engine as children
	// of this very binary.
	os.Exit(embedded.Main(func() int {
		ctx, stop := signal.NotifyContext(context.Background(), embedded.EndSignals()...)
		defer stop()
		return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	}))
}
