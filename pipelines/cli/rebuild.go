package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"syncline/pipelines"
	"syncline/sinks/clickhouse"
)

func (a *app) rebuildCommand() *cobra.Command {
	var apply, why string
	var complete []string
	c := &cobra.Command{
		Use: "rebuild all|ENTITY", GroupID: "operate", Short: "Compute everything anew, or fill the table of one entity anew",
		Long: "`rebuild all`" + ` computes all state anew from the first offsets of the source topics, beside
what is there, and publishes only what comes out different, with versions that go
on; what no longer exists is retired. An unchanged catalog over unchanged sources
publishes nothing. Processes of ` + "`syncline run`" + ` or ` + "`up`" + ` do the work and must run.
What is published stays served; nothing new is published until the sources are
caught up with. It is refused where the beginning of a source topic is gone: take
a new full snapshot first, and name the topic by --complete.

` + "`rebuild ENTITY`" + ` fills one ClickHouse table anew from what is published, where rows
were deleted or put in by hand, a column dropped, the table emptied or dropped.
The pipelines may run or not. The old table serves until the new one has all, so
there must be room for both. Entities: ` + strings.Join(clickhouse.Refills(), ", ") + `.

Without --apply both show what they would do and ask on a terminal. What was cut
off goes on, or begins anew, by the same command.`,
		Example: "  syncline rebuild all\n  syncline rebuild all --apply 5f2c0a9d41e7 --why 'mapping of invoices corrected'\n  syncline rebuild order --why 'rows deleted by hand'",
		Args:    cobra.ExactArgs(1), ValidArgs: rebuilds(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if why, fix := notFilled(args[0]); why != "" {
				return input("rebuild.refused", fix, "%s is not filled from its topic: %s", args[0], why)
			}
			if !slices.Contains(rebuilds(), args[0]) {
				return input("usage.rebuild", "use one of "+strings.Join(rebuilds(), ", "), "there is no rebuild of %q", args[0])
			}
			if args[0] != everything && len(complete) > 0 {
				return input("usage.rebuild", "leave it out", "--complete is about the sources, which rebuild %s does not read", args[0])
			}
			if err := a.followPlatform(); err != nil {
				return err
			}
			if args[0] != everything {
				return a.rebuildTable(cmd.Context(), args[0], apply, why)
			}
			return a.rebuild(cmd.Context(), apply, why, complete)
		},
	}
	c.Flags().StringVar(&apply, "apply", "", "hash of the plan that was shown: carry it out without asking")
	c.Flags().StringVar(&why, "why", "", "reason, for the record")
	c.Flags().StringSliceVar(&complete, "complete", nil, "source topics that hold a full snapshot though they begin above offset 0")
	return c
}

func (a *app) rebuild(ctx context.Context, apply, why string, complete []string) error {
	cat, err := loadCatalog(a.settings.Catalog)
	if err != nil {
		return err
	}
	schemas, err := a.registryClient()
	if err != nil {
		return err
	}
	defer schemas.Close()
	r := &pipelines.Rebuild{
		Engine: a.engine(), Names: a.names, Partitions: int32(a.settings.Partitions), //nolint:gosec // validated
		Schemas: schemas, Who: whoever(), Why: why, Complete: complete, Say: a.say,
	}
	for i := range cat.Tables {
		r.Sources = append(r.Sources, cat.Tables[i].Topic)
	}
	plan, err := r.Plan(ctx)
	if err != nil {
		return environment("rebuild.plan", "is the broker up?", "%w", err)
	}
	if len(plan.Refused) > 0 {
		a.partial = plan
		return input("rebuild.refused", "see the message; nothing was touched", "%s", strings.Join(plan.Refused, "; "))
	}
	table := Table{Columns: []string{"source topic", "records", "gone"}}
	for _, t := range plan.Topics {
		table.Rows = append(table.Rows, []string{t.Topic, fmt.Sprint(t.Records), fmt.Sprint(t.Missing)})
	}
	what := fmt.Sprintf("generation %d: read %s, publish what differs, delete generation %d", plan.Generation, count(int(plan.Records), "record"), plan.Generation-1)
	if plan.Continues {
		what = "go on with " + what
	}
	if agreed, err := a.agree("rebuild", "syncline rebuild all", what, plan.Hash, apply, plan, table); !agreed {
		return err
	}
	if err := r.Run(ctx, plan); err != nil {
		if errors.Is(err, context.Canceled) {
			return failure(ExitFailed, "rebuild.cut_off", "syncline rebuild all goes on with it", "%w", err)
		}
		return environment("rebuild.failed", "mend what it says; syncline rebuild all goes on with it", "%w", err)
	}
	return a.answer("rebuild", fmt.Sprintf("generation %d is published", plan.Generation), plan)
}
