package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"syncline/benchmarks/oracle"
	"syncline/deploy/embedded"
)

const demoHelp = `Starts a broker, a schema registry and a ClickHouse engine on this machine, then

  1. loads a recorded feed (Debezium in front of a real CRM, subscription system
     and ERP), runs it through the pipelines and checks every figure of every view
     against the databases' final rows;
  2. plays a simulated company live for 20 seconds, with everything that goes
     wrong in real feeds, and checks every figure against the company's books;
  3. shows where every deal stands.

Exits 0 only if every figure is right. Nothing is left behind unless --keep is given.`

func (a *app) demoCommand() *cobra.Command {
	f := companyFlags{}
	var keep bool
	c := &cobra.Command{
		Use: "demo", GroupID: "start", Short: "Everything on this machine, checked to the cent", Long: demoHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), f, keep) },
	}
	f.add(c)
	for name, value := range map[string]string{"accounts": "2000", "rate": "1500", "seconds": "20"} {
		flag := c.Flags().Lookup(name)
		flag.DefValue = value
		_ = flag.Value.Set(value) // a number, written above
	}
	c.Flags().BoolVar(&keep, "keep", false, "keep topics and tables in the data directory, for `syncline up`")
	return c
}

// DemoResult is the JSON result of demo.
type DemoResult struct {
	Recorded oracle.Report    `json:"recorded"`
	Live     oracle.Report    `json:"live"`
	Tables   map[string]Table `json:"tables"`
}

func (a *app) demo(ctx context.Context, f companyFlags, keep bool) error {
	start := time.Now()
	dir := a.settings.DataDir
	if !keep {
		temp, err := os.MkdirTemp("", "syncline-demo-")
		if err != nil {
			return environment("demo.dir", "make room in the temporary directory", "making a directory: %w", err)
		}
		defer os.RemoveAll(temp)
		dir = temp
	}
	var result DemoResult
	a.say("1. A recorded feed: Debezium in front of three real systems")
	err := a.withPipelines(ctx, filepath.Join(dir, "recorded"), "tryton", func(c *child) (err error) {
		const name = "debezium-tryton"
		n, err := a.load(ctx, name, 0)
		if err != nil {
			return err
		}
		a.say("   %d records loaded; waiting until all have gone through", n)
		if err := c.settle(ctx, 2*time.Minute); err != nil {
			return err
		}
		expected, err := a.expectRecording(ctx, name)
		if err != nil {
			return err
		}
		if result.Recorded, err = a.compare(ctx, expected); err != nil {
			return err
		}
		return a.accept("the recorded feed", result.Recorded)
	})
	if err != nil {
		return err
	}
	a.say("2. A simulated company, live for %.0f s at %.0f records a second", f.seconds, f.rate)
	live := filepath.Join(dir, "live")
	if keep {
		live = dir
	}
	err = a.withPipelines(ctx, live, "company", func(c *child) error {
		n, truth, err := a.generate(ctx, f)
		if err != nil {
			return err
		}
		a.say("   %d records written; waiting until all have gone through", n)
		if err := c.settle(ctx, 2*time.Minute); err != nil {
			return err
		}
		expected, err := oracle.ExpectWorkload(truth)
		if err != nil {
			return err
		}
		if result.Live, err = a.compare(ctx, expected); err != nil {
			return err
		}
		if err := a.accept("the live company", result.Live); err != nil {
			return err
		}
		result.Tables, err = a.demoTables(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if a.format != "json" {
		for _, q := range demoQueries {
			result.Tables[q.name].write(a.out)
		}
		fmt.Fprintf(a.out, `
How to look further:
  go run . up                                    the same platform, staying
  go run . load debezium-tryton                  the recorded feed again
  go run . query "SELECT * FROM deals LIMIT 5"   any question, in SQL
  go run . help                                  all there is

`)
	}
	return a.answer("demo", fmt.Sprintf("every figure is right: %s (%.0f s)", tallied(result.Recorded, result.Live), time.Since(start).Seconds()), result)
}

// withPipelines runs platform and pipelines around do.
func (a *app) withPipelines(ctx context.Context, dir, catalogName string, do func(*child) error) (err error) {
	var p *embedded.Platform
	if p, err = a.startPlatform(ctx, embedded.Options{Dir: dir}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop(context.WithoutCancel(ctx))) }()
	a.settings.Catalog = catalogName
	c, err := a.startChild(ctx, a.progressLine())
	if err != nil {
		return err
	}
	defer func() {
		if stopped := c.stop(); err == nil {
			err = stopped
		}
	}()
	return do(c)
}

// accept prints what was compared, and fails on a difference.
func (a *app) accept(what string, r oracle.Report) error {
	if r.OK() {
		a.say("   %s: no difference in %s", what, tallied(r))
		return nil
	}
	if a.format != "json" {
		if err := r.Print(a.out, 30); err != nil {
			return err
		}
	}
	a.partial = r
	return failure(ExitDifferences, "demo.differences", "please report them: the figures above must agree", "%s: %s", what, count(len(r.Differences), "difference"))
}

func tallied(reports ...oracle.Report) string {
	rows, views := 0, 0
	for _, r := range reports {
		views += len(r.Tallies)
		for _, t := range r.Tallies {
			rows += t.Expected
		}
	}
	return fmt.Sprintf("%d rows of %d views and topics", rows, views)
}

var demoQueries = []struct{ name, title, sql string }{
	{"deals", "Deals by stage", `SELECT stage, count() AS deals, currency, sum(amount) AS amount FROM deals GROUP BY stage, currency
		ORDER BY currency, indexOf(['opened', 'won', 'activated', 'invoiced', 'partly_paid', 'paid', 'credited', 'lost'], stage)`},
	{"kpis", "KPIs, the last days (durations in hours)", `SELECT day, metric, count, approximate, open, round(p50 / 3600, 2) AS p50_h, round(p90 / 3600, 2) AS p90_h, round(p99 / 3600, 2) AS p99_h
		FROM kpi_daily WHERE count > 0 ORDER BY day DESC, metric LIMIT 8`},
	{"feeds", "Feeds: what was dropped, and why", `SELECT topic, received, repeated, stale, waiting, letters FROM feed_health WHERE repeated + stale + waiting + letters > 0 ORDER BY topic`},
	{"letters", "Letters: records that could not be processed", `SELECT reason, count() AS letters, min(topic) AS for_example, substring(min(message), 1, 70) AS message FROM letters WHERE state = 'open' GROUP BY reason ORDER BY letters DESC`},
}

func (a *app) demoTables(ctx context.Context) (map[string]Table, error) {
	conn, err := a.clickhouse()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	tables := map[string]Table{}
	for _, q := range demoQueries {
		t, _, err := query(ctx, conn, q.sql, 100)
		if err != nil {
			return nil, fmt.Errorf("asking for %s: %w", q.name, err)
		}
		t.Title = q.title
		tables[q.name] = t
	}
	return tables, nil
}
