package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"syncline/deploy/embedded"
	"syncline/pipelines"
	"syncline/pipelines/run"
)

// remake forgets what the pipelines have derived on an embedded platform whose broker
// did not end cleanly, so that they make it anew from the sources. The broker keeps
// all that it has acknowledged, but no log of transactions: one that was being
// ended may be committed in one topic and not in another. Source topics, schemas
// and instructions are written without transactions, and stay.
func (a *app) remake(ctx context.Context, p *embedded.Platform) error {
	at := p.Unclean()
	const why = "the broker over %s did not end cleanly (noticed %s UTC): what the pipelines were writing at that moment may be torn"
	names, err := pipelines.NamesOf(a.settings.Prefix)
	if err != nil {
		return input("config.prefix", "correct --prefix", "%w", err)
	}
	cat, err := loadCatalog(a.settings.Catalog)
	if err != nil {
		return err
	}
	sources := make([]string, 0, len(cat.Tables))
	for i := range cat.Tables {
		sources = append(sources, cat.Tables[i].Topic)
	}
	if _, own := p.Credentials(); !own {
		there, err := a.databaseThere(ctx)
		if err != nil {
			return err
		}
		if there {
			return environment("platform.unclean", "drop the database "+a.settings.Database+" there yourself, and start again: it is filled from the sources",
				why+", and ClickHouse at %s is not ours to empty", a.settings.DataDir, at.Format(time.DateTime), a.settings.ClickHouse)
		}
	}
	a.say(why+`.
Source topics, schemas and instructions are whole and stay. What was derived from
them is made anew now: topics, groups, and the tables of database %s.`, a.settings.DataDir, at.Format(time.DateTime), a.settings.Database)
	topics, err := run.StartOver(ctx, a.engine(), sources, func(topic string) bool { return names.Owns(topic) && topic != names.Instructions })
	if errors.Is(err, run.ErrNotWhole) {
		return environment("platform.unclean", "have the connector send a full snapshot again, after `syncline up --wipe`, which forgets all embedded topics and tables",
			"what was derived cannot be made anew from the sources, and nothing was touched: %w", err)
	}
	if err != nil {
		return environment("platform.unclean", "start again; logs are in "+a.settings.DataDir+"/logs", "forgetting what may be torn: %w", err)
	}
	// Skips of before must not take the new tasks past what they have to read.
	g, err := a.generation(ctx)
	if err == nil {
		_, err = run.Instruct(ctx, a.engine(), g.Forgotten(whoever()))
	}
	if err != nil {
		return environment("platform.unclean", "start again; logs are in "+a.settings.DataDir+"/logs", "noting that all begins anew: %w", err)
	}
	conn, err := a.scratch()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quotedName(a.settings.Database)+" SYNC"); err != nil {
		return a.clickhouseFailure(err)
	}
	a.say("%s forgotten; the pipelines begin at the first record of each source", count(len(topics), "derived topic"))
	return p.Settle()
}

func (a *app) databaseThere(ctx context.Context) (bool, error) {
	conn, err := a.scratch()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	var n uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM system.databases WHERE name = ?", a.settings.Database).Scan(&n); err != nil {
		return false, a.clickhouseFailure(err)
	}
	return n > 0, nil
}

func quotedName(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}
