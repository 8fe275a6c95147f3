package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"syncline/pipelines"
	"syncline/pipelines/run"
)

func (a *app) feedsCommand() *cobra.Command {
	c := &cobra.Command{Use: "feeds", GroupID: "operate", Short: "Decide what a table that waits, or a task that has stopped, shall do"}
	c.AddCommand(a.feedsAcceptCommand(), a.feedsSweepCommand(), a.feedsSkipCommand())
	return c
}

func (a *app) feedsAcceptCommand() *cobra.Command {
	var column string
	var agreed consent
	c := &cobra.Command{
		Use: "accept TOPIC --column-gone COLUMN", Short: "Let a table go on without a mapped column", Args: cobra.ExactArgs(1),
		Long: `A table waits where its schema does not have a mapped column, or has it in a kind
that the mapping cannot take. With this it goes on, and the column reads as not
sent wherever a schema does not give it: known values stay, new rows have none.
Nothing else can be said by it: a renamed column is corrected in the catalog.

Without --apply it shows what it would do and asks on a terminal.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if column == "" {
				return input("usage.column", "say --column-gone COLUMN", "what is accepted is not said")
			}
			if err := a.followPlatform(); err != nil {
				return err
			}
			return a.acceptGone(cmd.Context(), args[0], column, agreed)
		},
	}
	c.Flags().StringVar(&column, "column-gone", "", "the mapped column that the source does not have any more")
	agreed.add(c.Flags())
	return c
}

func (a *app) acceptGone(ctx context.Context, topic, column string, agreed consent) error {
	cat, err := loadCatalog(a.settings.Catalog)
	if err != nil {
		return err
	}
	i, err := pipelines.AcceptGone(cat, topic, column)
	if err != nil {
		return input("feeds.accept", "take topic and column from the message of the table that waits (`syncline doctor`)", "%w", err)
	}
	return a.carryOut(ctx, &act{
		command: "feeds accept", again: "syncline feeds accept " + topic + " --column-gone " + column,
		what:   fmt.Sprintf("%s goes on where it lacks column %s: known values stay, new rows have none", topic, column),
		orders: []run.Instruction{i},
	}, agreed)
}
