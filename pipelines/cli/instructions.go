package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"syncline/pipelines"
	"syncline/pipelines/run"
)

func (a *app) instructionsCommand() *cobra.Command {
	c := &cobra.Command{Use: "instructions", GroupID: "trust", Short: "See what operators have had done: who, when, why"}
	c.AddCommand(a.instructionsListCommand())
	return c
}

func (a *app) instructionsListCommand() *cobra.Command {
	var most int
	var own bool
	c := &cobra.Command{
		Use: "list", Short: "List what was instructed, the newest first", Args: cobra.NoArgs,
		Long: `Lists what people have instructed the pipelines to do, the newest first: letters
redriven or discarded, records skipped or replayed, columns accepted as gone,
sweeps, rebuilds. --all lists what the pipelines have told themselves, too: which
snapshots have ended, what their sweeps have counted. Instructions are never
deleted.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 1 {
				return input("usage.limit", "give 1 or more", "--limit: %d is out of bounds", most)
			}
			if err := a.followPlatform(); err != nil {
				return err
			}
			all, err := run.Instructions(cmd.Context(), a.engine())
			if err != nil {
				return environment("kafka.unreachable", "is the broker up? see `syncline doctor`", "%w", err)
			}
			t := Table{Columns: []string{"when", "who", "kind", "topic", "reach", "plan", "why", "id"}}
			if !own {
				all = slices.DeleteFunc(all, func(i run.Instruction) bool { return i.Who == pipelines.ByPipelines })
			}
			for n := len(all) - 1; n >= 0 && len(t.Rows) < most; n-- {
				i := &all[n]
				t.Rows = append(t.Rows, []string{time.UnixMilli(i.When).UTC().Format(time.DateTime), i.Who, i.Kind, i.Topic, reachOf(i), i.Plan, i.Why, i.ID})
			}
			said := count(len(all), "instruction")
			if len(t.Rows) < len(all) {
				said += fmt.Sprintf(", the newest %d; --limit shows more", len(t.Rows))
			}
			return a.answer("instructions list", said, t, t)
		},
	}
	c.Flags().BoolVar(&own, "all", false, "also those that the pipelines have given themselves")
	c.Flags().IntVar(&most, "limit", 100, "most to list")
	return c
}

// reachOf says which records an instruction is about.
func reachOf(i *run.Instruction) string {
	if records, partitions := i.Records(); records > 0 {
		return count(int(records), "record") + " of " + count(partitions, "partition")
	}
	var at []string
	for _, p := range slices.Sorted(maps.Keys(i.At)) {
		at = append(at, fmt.Sprintf("%d from %d", p, i.At[p]))
	}
	if len(at) > 4 {
		at = append(at[:4], "…")
	}
	return strings.Join(at, ", ")
}
