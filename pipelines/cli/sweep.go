package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"syncline/pipelines"
	"syncline/pipelines/run"
)

// sweeps follows what becomes of full snapshots while hops run.
func (a *app) sweeps(hops *hopRunner) *pipelines.Sweeps {
	return &pipelines.Sweeps{
		Wait: a.settings.SweepWait, Log: a.log,
		Said: func() []run.Instruction {
			if t := hops.transform(); t != nil {
				return t.Said()
			}
			return nil
		},
		Ends: func(ctx context.Context, topic string) (map[int32]int64, error) {
			return run.Ends(ctx, a.engine(), topic)
		},
		Instruct: func(ctx context.Context, i run.Instruction) error {
			_, err := run.Instruct(ctx, a.engine(), i)
			return err
		},
	}
}

func (a *app) feedsSweepCommand() *cobra.Command {
	var agreed consent
	c := &cobra.Command{
		Use: "sweep TOPIC", Short: "Show what a full snapshot did not have, and delete it", Args: cobra.ExactArgs(1),
		Long: `Rows that a full snapshot does not have were deleted while nobody listened, and go
by themselves. Where they are more than three rows and more than a twentieth of
the table, or where a record of the snapshot cannot be read, they stay until you
say that it is right.

Without --apply it shows what it would do and asks on a terminal.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			return a.sweep(cmd.Context(), args[0], agreed)
		},
	}
	agreed.add(c.Flags())
	return c
}

func (a *app) sweep(ctx context.Context, topic string, agreed consent) error {
	const command = "feeds sweep"
	said, err := run.Instructions(ctx, a.engine())
	if err != nil {
		return environment("feeds.sweep", "is the broker up? see `syncline doctor`", "%w", err)
	}
	for _, h := range pipelines.Held(said) {
		if h.Topic != topic {
			continue
		}
		return a.carryOut(ctx, &act{
			command: command, again: "syncline feeds sweep " + topic,
			what: h.String() + ": these rows are deleted", orders: []run.Instruction{h.Apply()},
			reach: Table{Columns: []string{"topic", "position", "rows", "missing"}, Rows: [][]string{{h.Topic, h.Position, strconv.FormatInt(h.Rows, 10), strconv.FormatInt(h.Below, 10)}}},
		}, agreed)
	}
	return a.nothingToDo(command, "nothing is held of "+topic, Table{}, agreed)
}

// checkSweeps tells what sweeps wait for a person.
func (a *app) checkSweeps(ctx context.Context) (out []Finding) {
	said, err := run.Instructions(ctx, a.engine())
	if err != nil {
		return []Finding{{Check: "sweeps", OK: true, Warning: true, Found: "cannot be told: " + err.Error(), Fix: "give the account READ on " + a.names.Instructions}}
	}
	for _, h := range pipelines.Held(said) {
		out = append(out, Finding{
			Check: "sweep " + h.Topic, OK: true, Warning: true, Found: h.String(),
			Fix: "if the snapshot was whole: syncline feeds sweep " + h.Topic,
		})
	}
	return out
}
