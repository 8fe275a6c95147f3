package cli

import (
	"context"
	"fmt"

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
	var apply bool
	var why string
	c := &cobra.Command{
		Use: "sweep TOPIC [--apply]", Short: "Show what a full snapshot did not have, and delete it", Args: cobra.ExactArgs(1),
		Long: `Rows that a full snapshot does not have were deleted while nobody listened, and go
by themselves. Where they are more than three rows and more than a twentieth of
the table, or where a record of the snapshot cannot be read, they stay until you
say that it is right. Without --apply this only shows them.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			return a.sweep(cmd.Context(), args[0], apply, why)
		},
	}
	c.Flags().BoolVar(&apply, "apply", false, "delete them")
	c.Flags().StringVar(&why, "why", "", "the reason, kept with the instruction")
	return c
}

func (a *app) sweep(ctx context.Context, topic string, apply bool, why string) error {
	said, err := run.Instructions(ctx, a.engine())
	if err != nil {
		return environment("feeds.sweep", "is the broker up? see `syncline doctor`", "%w", err)
	}
	for _, h := range pipelines.Held(said) {
		if h.Topic != topic {
			continue
		}
		told := map[string]any{"topic": topic, "position": h.Position, "rows": h.Rows, "missing": h.Below, "blind": h.Blind, "applied": apply}
		if !apply {
			return a.answer("feeds sweep", h.String()+"; `--apply` deletes them", told)
		}
		i := h.Apply()
		i.Who, i.Why = whoever(), why
		if i, err = run.Instruct(ctx, a.engine(), i); err != nil {
			return environment("feeds.sweep", "is the broker up? see `syncline doctor`", "%w", err)
		}
		told["instruction"] = i.ID
		return a.answer("feeds sweep", h.String()+"; they are being deleted", told)
	}
	return a.answer("feeds sweep", fmt.Sprintf("nothing is held of %s", topic), map[string]any{"topic": topic, "missing": 0, "applied": false})
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
			Fix: "if the snapshot was whole: syncline feeds sweep " + h.Topic + " --apply",
		})
	}
	return out
}
