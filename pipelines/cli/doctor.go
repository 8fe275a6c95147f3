package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"syncline/pipelines"
	"syncline/pipelines/run"
)

// Finding is one line of doctor's report.
type Finding struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning,omitempty"` // worth knowing, no reason to stop
	Found   string `json:"found"`
	Fix     string `json:"fix,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", GroupID: "start", Short: "What is missing, and how to mend it", Args: cobra.NoArgs,
		Long: `Looks, and changes nothing: catalog and environment; Kafka, its versions and
settings, the source topics and our own; every committed position against what
its partition holds; which processes run, their slots, what stands still and why,
how far each group is behind; transactions that hang; the registry; ClickHouse,
its tables and their space; letters by cause; disk and clocks. Each finding comes
with its fix. Exit code 3 if something must be mended first.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			return a.doctor(ctx)
		},
	}
}

func (a *app) doctor(ctx context.Context) error {
	// Side by side: each may have to wait for a server that does not answer.
	checks := []func(context.Context) []Finding{a.checkSettings, a.checkKafka, a.checkRegistry, a.checkClickHouse, func(context.Context) []Finding { return []Finding{a.checkDisk()} }}
	results := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { results[i] = check(ctx) })
	}
	all.Wait()
	return a.answerFindings(slices.Concat(results...))
}

func (a *app) answerFindings(findings []Finding) error {
	t := Table{Columns: []string{"check", "state", "found", "fix"}}
	broken, warned := 0, 0
	for i, f := range findings {
		f.Found = a.shown(f.Found) // it quotes errors
		findings[i] = f
		state := "ok"
		switch {
		case !f.OK:
			state = "BROKEN"
			broken++
		case f.Warning:
			state = "warning"
			warned++
		}
		t.Rows = append(t.Rows, []string{f.Check, state, f.Found, f.Fix})
	}
	if broken > 0 {
		a.partial = findings
		if a.format != "json" {
			t.write(a.out)
		}
		return environment("doctor.broken", "the lines marked BROKEN say how", "%s", count(broken, "check")+" failed")
	}
	verdict := "all is well"
	if warned > 0 {
		verdict = "nothing is broken; " + count(warned, "warning")
	}
	return a.answer("doctor", verdict, findings, t)
}

// checkSettings looks at the catalog and at the environment.
func (a *app) checkSettings(context.Context) []Finding {
	f := Finding{Check: "catalog " + a.settings.Catalog}
	c, err := loadCatalog(a.settings.Catalog)
	if err == nil {
		if owned := c.Owned(a.names.Owns); len(owned) > 0 {
			err = owned
		}
	}
	if err != nil {
		f.Found, f.Fix = err.Error(), "syncline catalog lint"
	} else {
		f.OK, f.Found = true, fmt.Sprintf("%s, %s", count(len(c.Systems), "system"), count(len(c.Tables), "table"))
	}
	out := []Finding{f}
	stray := strayVariables()
	for _, name := range slices.Sorted(maps.Keys(stray)) {
		out = append(out, Finding{Check: "environment", OK: true, Warning: true, Found: name + " is no setting and does nothing", Fix: strayFix(stray[name])})
	}
	return out
}

// checkKafka looks at the cluster and at all that the pipelines have there.
func (a *app) checkKafka(ctx context.Context) []Finding {
	engine, names := a.working(ctx)
	sources := a.sourceTopics()
	examined := run.Examine(ctx, engine, sources)
	if len(examined) == 1 {
		return findings(examined) // it cannot be reached
	}
	survey, err := run.Listen(ctx, engine, a.names.Processes)
	examined = append(examined, run.ExamineOwned(ctx, engine, names.Owned(int32(a.settings.Partitions)), survey)...) //nolint:gosec // validated
	readers := names.Readers(sources)
	examined = append(examined, run.ExaminePositions(ctx, engine, readers)...)
	if err != nil {
		examined = append(examined, run.Examination{Check: "processes", OK: true, Warning: true, Found: "cannot be told: " + err.Error(), Fix: "give the account READ on " + a.names.Processes})
	}
	members := working(survey)
	examined = append(examined, run.ExamineGroups(ctx, engine, readers, members)...)
	// The sink reads what is published, which is of no generation.
	examined = append(examined, run.ExamineGroups(ctx, a.engine(), map[string][]string{sinkName: names.Delivered()}, members)...)
	out := findings(append(examined, survey.Examine()...))
	out = append(out, a.checkSweeps(ctx)...)
	return append(out, checkWaiting(ctx, engine, survey)...)
}

// working counts by group the processes that should be in it.
func working(s run.Survey) map[string]int {
	n := map[string]int{}
	for i := range s.Live {
		for _, part := range s.Live[i].Parts {
			if part == partSink {
				n[sinkName]++
				continue
			}
			for _, hop := range pipelines.Hops() {
				n[hop]++
			}
		}
	}
	return n
}

// checkWaiting says how long what waits at the sources may wait: behind its
// retention a topic deletes what nobody has taken.
func checkWaiting(ctx context.Context, engine run.Config, s run.Survey) (out []Finding) {
	for i := range s.Live {
		for _, t := range s.Live[i].Report.Troubles {
			if t.Part != pipelines.Intake || len(out) == 20 {
				continue
			}
			left, ok := run.Retention(ctx, engine, t.Topic, t.Partition, t.Part)
			if !ok {
				continue
			}
			f := Finding{
				Check: fmt.Sprintf("retention %s/%d", t.Topic, t.Partition), OK: left > 0, Warning: true,
				Found: fmt.Sprintf("%s; %.0f hours are left until its topic deletes the record", t.State, left.Hours()),
				Fix:   "mend what makes it wait, or raise retention.ms of the topic until then",
			}
			if left <= 0 {
				f.Found = t.State + "; its topic may delete the record at any time, or has done so"
			}
			out = append(out, f)
		}
	}
	return out
}

func findings(examined []run.Examination) []Finding {
	out := make([]Finding, len(examined))
	for i, e := range examined {
		out[i] = Finding{Check: e.Check, OK: e.OK, Warning: e.Warning, Found: e.Found, Fix: e.Fix}
	}
	return out
}

// sourceTopics are those of the catalog; none if it cannot be read, which
// checkSettings says.
func (a *app) sourceTopics() []string {
	c, err := loadCatalog(a.settings.Catalog)
	if err != nil {
		return nil
	}
	topics := make([]string, 0, len(c.Tables))
	for i := range c.Tables {
		topics = append(topics, c.Tables[i].Topic)
	}
	return topics
}
