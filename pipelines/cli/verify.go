package cli

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload/company"
	"syncline/pipelines"
	"syncline/pipelines/plainfile"
	"syncline/pipelines/run"
)

func (a *app) verifyCommand() *cobra.Command {
	var name, truth string
	var limit int
	var wait time.Duration
	c := &cobra.Command{
		Use: "verify", GroupID: "trust", Short: "Compare topics and views with the truth, to the cent", Args: cobra.NoArgs,
		Long: `Computes what every view must show, with code and SQL that share nothing with the
pipelines, and prints every difference: from a recording's final rows and a plain
fold of its changes, or from the simulated company's own books. It gives running
pipelines the time to finish what lies before them. Exit code 4 where there is a
difference.`,
		Example: "  syncline verify --recording debezium-tryton\n  syncline verify --truth truth.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			var expected oracle.Expected
			var err error
			switch {
			case (name == "") == (truth == ""):
				return input("usage", "give --recording or --truth", "one of them says what is true")
			case name != "":
				expected, err = a.expectRecording(cmd.Context(), name)
			default:
				expected, err = expectTruth(truth)
			}
			if err != nil {
				return err
			}
			report, err := a.compareAtRest(cmd.Context(), expected, wait)
			if err != nil {
				return err
			}
			return a.answerReport(report, limit)
		},
	}
	c.Flags().StringVar(&name, "recording", "", "folder or name of the recording that was loaded")
	c.Flags().StringVar(&truth, "truth", "", "file that `generate --truth` has written")
	c.Flags().IntVar(&limit, "limit", 50, "most differences to print")
	c.Flags().DurationVar(&wait, "wait", time.Minute, "longest time to wait for the pipelines to finish their work")
	return c
}

func (a *app) expectRecording(ctx context.Context, name string) (oracle.Expected, error) {
	dir, remove, err := recording(name)
	if err != nil {
		return nil, err
	}
	defer remove()
	loads, err := a.loads(ctx, dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, company.TruthFile)); err == nil {
		truth, err := company.ReadTruthFile(dir)
		if err != nil {
			return nil, input("input.truth", "write the folder anew with `generate --out`", "%w", err)
		}
		if loads > 1 {
			// The company's books say what one load counts.
			a.uncounted = true
			a.say("the feed was loaded %d times: what feed_health counts is not compared", loads)
		}
		return oracle.ExpectWorkload(truth)
	}
	conn, err := a.scratch()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	expected, err := oracle.ExpectRecorded(ctx, conn, dir, loads)
	if err != nil {
		return nil, a.clickhouseFailure(err)
	}
	return expected, nil
}

// loads is how often the recording lies in its topics, whole; 1 where they hold
// something else.
func (a *app) loads(ctx context.Context, dir string) (int, error) {
	counts, err := oracle.RecordCounts(dir)
	if err != nil {
		return 0, input("input.recording", "see the README beside the recordings for the format", "%w", err)
	}
	written, err := run.Written(ctx, a.engine(), slices.Collect(maps.Keys(counts)))
	if err != nil {
		return 0, environment("verify.topics", "is the broker up?", "%w", err)
	}
	loads := int64(0)
	for topic, n := range counts {
		times := written[topic] / n
		if written[topic]%n != 0 || times == 0 || loads != 0 && times != loads {
			return 1, nil
		}
		loads = times
	}
	return int(max(loads, 1)), nil
}

func expectTruth(file string) (oracle.Expected, error) {
	f, err := plainfile.Open(file)
	if err != nil {
		return nil, input("input.truth", "give the file that `generate --truth` has written", "%w", err)
	}
	defer f.Close()
	truth, err := company.ReadTruth(f)
	if err != nil {
		return nil, input("input.truth", "write it anew with `generate --truth`", "%w", err)
	}
	return oracle.ExpectWorkload(truth)
}

// compare holds views and topics against what is expected.
func (a *app) compare(ctx context.Context, expected oracle.Expected) (oracle.Report, error) {
	conn, err := a.scratch()
	if err != nil {
		return oracle.Report{}, err
	}
	defer conn.Close()
	views, err := oracle.CompareViews(ctx, conn, a.settings.Database, expected)
	if err != nil {
		return views, environment("verify.views", "is ClickHouse up, and were the pipelines ever run?", "%w", err)
	}
	if a.uncounted {
		views = views.Without("feed_health")
	}
	topics, err := oracle.CompareTopics(ctx, a.settings.Brokers, a.registryWithLogin(), a.names.Record, expected)
	if err != nil {
		return views, environment("verify.topics", "are the broker and the registry up?", "%w", err)
	}
	return views.Join(topics), nil
}

// registryWithLogin is the registry's address with user and password in it, as the
// oracle's own client takes them.
func (a *app) registryWithLogin() string {
	s := &a.settings
	u, err := url.Parse(s.RegistryURL)
	if err != nil || s.RegistryUser == "" && s.RegistryPassword == "" {
		return s.RegistryURL
	}
	u.User = url.UserPassword(s.RegistryUser, string(s.RegistryPassword))
	return u.String()
}

// restTime is how long nothing may change before the pipelines are taken to have
// finished.
const restTime = 3 * time.Second

// joinTime is how long it may take running pipelines to see topics that have
// just appeared, and to join the group of their readers.
const joinTime = 8 * time.Second

// compareAtRest compares until everything is as expected, until the pipelines
// have taken all source records and change nothing any more, or for wait. That
// no pipelines run, with work before them, is an error.
func (a *app) compareAtRest(ctx context.Context, expected oracle.Expected, wait time.Duration) (oracle.Report, error) {
	begun := time.Now()
	engine, _ := a.working(ctx)
	calm, before := begun, ""
	for {
		lag, err := run.HopLag(ctx, engine, pipelines.Intake, a.sourceTopics())
		if err != nil {
			return oracle.Report{}, environment("verify.lag", "is the broker up?", "%w", err)
		}
		report, err := a.compare(ctx, expected)
		if err != nil {
			return report, err
		}
		now := time.Now()
		if seen := fmt.Sprint(lag.Records, report.Tallies); seen != before {
			calm, before = now, seen
		}
		switch {
		case report.OK(), lag.Records == 0 && now.Sub(calm) >= restTime:
			return report, nil
		case lag.Members == 0 && now.Sub(begun) >= joinTime:
			return report, environment("verify.no_pipelines", "start them: `syncline up`, or `syncline run`", "%s not taken, and no pipelines run", count(int(lag.Records), "source record"))
		case now.Sub(begun) >= wait:
			a.say("the pipelines are not done after %s: %s not taken yet", wait, count(int(lag.Records), "source record"))
			return report, nil
		}
		a.progress("waiting for the pipelines: %s not taken yet, %s so far", count(int(lag.Records), "source record"), count(len(report.Differences), "difference"))
		select {
		case <-ctx.Done():
			return report, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// answerReport prints what was compared and every difference.
func (a *app) answerReport(report oracle.Report, limit int) error {
	if a.format != "json" {
		if err := report.Print(a.out, limit); err != nil {
			return err
		}
	}
	if !report.OK() {
		a.partial = report
		return failure(ExitDifferences, "verify.differences", "the lines above name view, key and column", "%s", count(len(report.Differences), "difference"))
	}
	return a.answer("verify", "no difference in "+tallied(report), report)
}
