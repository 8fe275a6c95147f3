package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"syncline/pipelines/run"
)

func (a *app) feedsSkipCommand() *cobra.Command {
	var agreed consent
	c := &cobra.Command{
		Use: "skip TOPIC PARTITION OFFSET", Short: "Let a stopped task go on at another offset", Args: cobra.ExactArgs(3),
		Long: `A task stops where records are gone that it has not read, where its topic was
made anew, or at a record behind which going on would be wrong; the message names
this command. With it the task goes on at OFFSET: records between its position and
OFFSET are never read, and those behind OFFSET are read again, which changes
nothing that is right. Lost rows of a source come back with a new snapshot.

Without --apply it shows what it would do and asks on a terminal.`,
		Example: "  syncline feeds skip cdc.erp.public.account_invoice 0 4711 --why 'retention had passed; snapshot follows'",
		RunE: func(cmd *cobra.Command, args []string) error {
			partition, err := strconv.ParseInt(args[1], 10, 32)
			if err != nil || partition < 0 {
				return input("usage.partition", "take it from the message of the task that stopped", "%q is no partition", args[1])
			}
			offset, err := strconv.ParseInt(args[2], 10, 64)
			if err != nil || offset < 0 {
				return input("usage.offset", "take it from the message of the task that stopped", "%q is no offset", args[2])
			}
			if err := a.followPlatform(); err != nil {
				return err
			}
			return a.skip(cmd.Context(), skipPlan{Topic: args[0], Partition: int32(partition), To: offset}, agreed)
		},
	}
	agreed.add(c.Flags())
	return c
}

// skipPlan is what a skip would do.
type skipPlan struct {
	Hop       string `json:"hop"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"` // committed offset, -1 for none
	To        int64  `json:"to"`
	Start     int64  `json:"start"` // first offset that is there
	End       int64  `json:"end"`   // behind the last one
	Unread    int64  `json:"unread"`
	Again     int64  `json:"again"`
}

// hash names the plan: what was agreed to, and not what the topic has grown by.
func (p *skipPlan) hash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d %d %d", p.Hop, p.Topic, p.Partition, p.From, p.To, p.Start))
	return hex.EncodeToString(sum[:6])
}

func (p *skipPlan) String() string {
	return fmt.Sprintf("%s/%d goes on at offset %d instead of %d (there are %d to %d): %s never read, %s read again",
		p.Topic, p.Partition, p.To, max(p.From, 0), p.Start, p.End, count(int(p.Unread), "record"), count(int(p.Again), "record"))
}

func (a *app) skip(ctx context.Context, p skipPlan, agreed consent) error {
	engine, names := a.working(ctx)
	for hop, topics := range names.Readers(a.sourceTopics()) {
		if slices.Contains(topics, p.Topic) {
			p.Hop = hop
		}
	}
	if p.Hop == "" {
		return input("feeds.topic", "take the topic from the message of the task that stopped (`syncline doctor`)", "no task reads topic %s", p.Topic)
	}
	place, err := run.PlaceOf(ctx, engine, p.Hop, p.Topic, p.Partition)
	switch {
	case errors.Is(err, run.ErrNoPartition):
		return input("feeds.partition", "take topic and partition from the message of the task that stopped (`syncline doctor`)", "%w", err)
	case err != nil:
		return environment("feeds.skip", "is the broker up? see `syncline doctor`", "%w", err)
	case p.To < place.Start || p.To > place.End:
		return input("feeds.offset", fmt.Sprintf("take one from %d to %d", place.Start, place.End),
			"%s/%d holds the offsets from %d to %d, and %d is none of them", p.Topic, p.Partition, place.Start, place.End, p.To)
	}
	p.From, p.Start, p.End = place.Committed, place.Start, place.End
	from := max(p.From, 0)
	p.Unread, p.Again = max(p.To-from, 0), max(min(from, p.End)-p.To, 0)
	const command = "feeds skip"
	again := fmt.Sprintf("syncline feeds skip %s %d %d", p.Topic, p.Partition, p.To)
	if yes, err := a.agree(command, again, p.String(), p.hash(), agreed.apply, &p, Table{}); !yes {
		return err
	}
	i := run.Instruction{Kind: run.KindSkip, Hop: p.Hop, Topic: p.Topic, At: map[int32]int64{p.Partition: p.To}, Who: whoever(), Why: agreed.why, Plan: p.hash()}
	if i, err = run.Instruct(ctx, a.engine(), i); err != nil {
		return environment("feeds.skip", "is the broker up? see `syncline doctor`", "%w", err)
	}
	return a.answer(command, fmt.Sprintf("%s (instruction %s)", p.String(), i.ID), &p)
}
