// Package pipelines says what flows where: the four hops from the change feeds
// of the source systems to canonical entities, and the sink behind them.
package pipelines

import (
	"context"
	"log/slog"
	"time"

	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/processors/account"
	"syncline/processors/document"
	"syncline/processors/intake"
	"syncline/processors/party"
)

// Intake is the name of the hop that reads the sources' topics.
const Intake = "intake"

// The topics that the pipelines own.
const (
	TopicRows      = "syncline.rows"
	TopicDocuments = "syncline.documents"
	TopicAccounts  = "syncline.accounts"
	TopicLetters   = "syncline.letters"
	TopicFeeds     = "syncline.feeds"
	canonicalTopic = "canonical."
)

// Schemas is what the spine needs of a schema registry; the registry's client
// has it.
type Schemas interface {
	SchemaByID(ctx context.Context, id int) (string, error)
	Register(ctx context.Context, subject, schema string) (int, error)
}

// Config is what the spine is built from.
type Config struct {
	Catalog    *catalog.Catalog
	Schemas    Schemas
	Partitions int32 // of every owned topic; fixed at first start; default 4
	// UnknownSchemaWait is how long a record may wait for its schema id to appear
	// in the registry before it becomes a letter; default 60 s.
	UnknownSchemaWait time.Duration
	// MaxRecordBytes bounds key and value of a source record; default 1 MiB.
	MaxRecordBytes int
	Limits         document.Limits
	Log            *slog.Logger
}

// Spine is the topology, ready to run on Kafka or in memory.
type Spine struct {
	// Hops in the order in which changes pass them.
	Hops []run.Hop
	// Delivered are the topics that sinks take.
	Delivered []string
	// Letters encodes the engine's dead letters.
	Letters *Letters
}

// Build registers the canonical schemas and connects catalog, operators and
// topics:
//
//	source topics → intake → rows → document → documents → party → accounts → account → canonical topics
func Build(ctx context.Context, c Config) (*Spine, error) {
	c = c.withDefaults()
	sources, err := c.Catalog.Sources()
	if err != nil {
		return nil, err
	}
	identity, err := c.Catalog.PartyIdentity()
	if err != nil {
		return nil, err
	}
	records, err := registerRecords(ctx, c.Schemas)
	if err != nil {
		return nil, err
	}
	accounts := c.Catalog.AccountConfig()
	plans := &plans{schemas: c.Schemas, byID: map[planKey]plan{}, ctx: ctx}
	byTopic := map[string]*intake.Source{}
	inputs := make([]string, 0, len(sources))
	for _, s := range sources {
		byTopic[s.Topic] = s
		inputs = append(inputs, s.Topic)
	}
	queue := func(name string) run.Topic {
		return run.Topic{Name: name, Partitions: c.Partitions, Cleanup: run.Queue}
	}
	compacted := func(name string) run.Topic {
		return run.Topic{Name: name, Partitions: c.Partitions, Cleanup: run.Compact}
	}
	letters, feeds := compacted(TopicLetters), compacted(TopicFeeds)

	s := &Spine{Letters: &Letters{records: records}, Delivered: []string{TopicLetters, TopicFeeds}}
	canonical := []run.Topic{letters}
	for _, t := range account.Topics() {
		canonical = append(canonical, compacted(canonicalTopic+t.String()))
		s.Delivered = append(s.Delivered, canonicalTopic+t.String())
	}
	s.Hops = []run.Hop{
		{
			Name: Intake, Inputs: inputs, Outputs: []run.Topic{queue(TopicRows), letters, feeds}, Changelog: compacted("syncline.intake.changelog"),
			NewTask: func(i run.TaskInfo) (run.Task, error) {
				src := byTopic[i.Topic]
				return &intakeTask{config: &c, src: src, op: intake.New(src, i.Store), plans: plans, records: records, info: i}, nil
			},
		},
		{
			Name: "document", Inputs: []string{TopicRows}, Outputs: []run.Topic{queue(TopicDocuments), letters, feeds}, Changelog: compacted("syncline.document.changelog"),
			NewTask: func(i run.TaskInfo) (run.Task, error) {
				return &documentTask{op: document.New(i.Store, c.Limits), records: records, partition: i.Partition}, nil
			},
		},
		{
			Name: "party", Inputs: []string{TopicDocuments}, Outputs: []run.Topic{queue(TopicAccounts), letters}, Changelog: compacted("syncline.party.changelog"),
			NewTask: func(i run.TaskInfo) (run.Task, error) {
				return &partyTask{op: party.New(identity, i.Store)}, nil
			},
		},
		{
			Name: "account", Inputs: []string{TopicAccounts}, Outputs: canonical, Changelog: compacted("syncline.account.changelog"),
			NewTask: func(i run.TaskInfo) (run.Task, error) {
				op, err := account.New(accounts, i.Store)
				if err != nil {
					return nil, err
				}
				return &accountTask{op: op, records: records}, nil
			},
		},
	}
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = 4
	}
	if c.UnknownSchemaWait == 0 {
		c.UnknownSchemaWait = time.Minute
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = 1 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
