package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"syncline/pipelines"
	"syncline/pipelines/run"
)

// mostReplayed bounds one replay; whoever wants more wants a rebuild.
const mostReplayed = 5_000_000

func (a *app) replayCommand() *cobra.Command {
	var from, to string
	var agreed consent
	c := &cobra.Command{
		Use: "replay TOPIC --from PLACE --to PLACE", GroupID: "operate", Short: "Have records of a source read once more", Args: cobra.ExactArgs(1),
		Long: `Reads the records of a source's topic again, from one place to before another, and
applies them beside the input's own position. Rows' positions decide, so what is
right stays as it is; what was not taken, for a mapping that was mended since, is
taken now. A place is an offset (of every partition), a time (2026-11-25, or
2026-11-25T10:00:00Z), start or end.`,
		Example: "  syncline replay cdc.erp.public.account_invoice --from 2026-11-24 --to 2026-11-25T12:00:00Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			return a.replay(cmd.Context(), args[0], from, to, agreed)
		},
	}
	c.Flags().StringVar(&from, "from", "start", "first record: offset, time or start")
	c.Flags().StringVar(&to, "to", "end", "behind the last record: offset, time or end")
	agreed.add(c.Flags())
	return c
}

func (a *app) replay(ctx context.Context, topic, from, to string, agreed consent) error {
	engine, names := a.working(ctx)
	if !slices.Contains(names.Readers(a.sourceTopics())[pipelines.Intake], topic) {
		return input("replay.topic", "give a topic of the catalog", "the catalog has no topic %s", topic)
	}
	begin, err := placeIn(ctx, engine, topic, "--from", from)
	if err != nil {
		return err
	}
	end, err := placeIn(ctx, engine, topic, "--to", to)
	if err != nil {
		return err
	}
	ranges := map[int32][2]int64{}
	reach := Table{Columns: []string{"partition", "from", "to", "offsets"}}
	total := int64(0)
	for _, partition := range slices.Sorted(maps.Keys(end)) {
		place, err := run.PlaceOf(ctx, engine, pipelines.Intake, topic, partition)
		if err != nil {
			return environment("replay.failed", "is the broker up? see `syncline doctor`", "%w", err)
		}
		// What was never taken comes by itself.
		first, last := max(begin[partition], place.Start), min(end[partition], place.End, max(place.Committed, place.Start))
		if last <= first {
			continue
		}
		ranges[partition] = [2]int64{first, last}
		total += last - first
		reach.Rows = append(reach.Rows, []string{fmt.Sprint(partition), fmt.Sprint(first), fmt.Sprint(last), fmt.Sprint(last - first)})
	}
	switch {
	case total == 0:
		return a.nothingToDo("replay", "no record that was taken lies there", reach, agreed)
	case total > mostReplayed:
		return input("replay.large", "take a shorter range, or `syncline rebuild all`", "%d offsets are more than %d", total, mostReplayed)
	}
	i, err := pipelines.Replay(topic, ranges)
	if err != nil {
		return err
	}
	return a.carryOut(ctx, &act{
		command: "replay", again: fmt.Sprintf("syncline replay %s --from %s --to %s", topic, from, to),
		what: fmt.Sprintf("read %s of %s again", count(int(total), "offset"), topic), reach: reach, orders: []run.Instruction{i},
	}, agreed)
}

// placeIn resolves a place to an offset of each partition.
func placeIn(ctx context.Context, engine run.Config, topic, flag, place string) (map[int32]int64, error) {
	at := run.At{Start: place == "start", End: place == "end"}
	if !at.Start && !at.End {
		n, err := strconv.ParseInt(place, 10, 64)
		for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
			if err != nil {
				at.Time, err = time.Parse(layout, place)
			}
		}
		if err != nil || n < 0 {
			return nil, input("usage.place", "give an offset, a time such as 2026-11-25T10:00:00Z, start or end", "%s: %q is no place", flag, place)
		}
		at.Offset = n
	}
	offsets, err := run.OffsetsAt(ctx, engine, topic, at)
	if err != nil {
		return nil, environment("replay.failed", "is the broker up, and is the topic there? see `syncline doctor`", "%w", err)
	}
	return offsets, nil
}
