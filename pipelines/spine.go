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
	"syncline/processors/letters"
	"syncline/processors/party"
	"syncline/schemas/registry"
)

// Schemas is what the spine needs of a schema registry; the registry's client
// has it.
type Schemas interface {
	SchemaByID(ctx context.Context, id int) (string, error)
	Register(ctx context.Context, subject, schema string) (int, error)
	Latest(ctx context.Context, subject string) (registry.Version, error)
	Later(ctx context.Context, subject string, id int) ([]string, error)
	// AskAnew forgets which ids were not there.
	AskAnew()
}

// Config is what the spine is built from.
type Config struct {
	Catalog    *catalog.Catalog
	Schemas    Schemas
	Names      Names // of the owned topics; default DefaultNames
	Partitions int32 // of every owned topic; fixed at first start; default 4
	// UnknownSchemaWait is how long a record may wait for its schema id to appear
	// in the registry before it becomes a letter; default 60 s.
	UnknownSchemaWait time.Duration
	// MaxRecordBytes bounds key and value of a source record; default 1 MiB.
	MaxRecordBytes int
	// LetterLimit is how many letters a feed may have among its last records before
	// it stops; the zero value is no limit.
	LetterLimit letters.Limit
	Limits      document.Limits
	Log         *slog.Logger
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
	if problems := c.Catalog.Owned(c.Names.Owns); len(problems) > 0 {
		return nil, problems
	}
	records, err := registerRecords(ctx, c.Schemas, c.Names)
	if err != nil {
		return nil, err
	}
	warnOfMisfits(ctx, &c)
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
	names := c.Names
	letters, feeds := compacted(names.Letters), compacted(names.Feeds)

	s := &Spine{Letters: &Letters{records: records}, Delivered: names.Delivered()}
	canonical := []run.Topic{letters}
	for _, t := range account.Topics() {
		canonical = append(canonical, compacted(names.Record(t.String())))
	}
	s.Hops = []run.Hop{
		{
			Name: Intake, Inputs: inputs, Outputs: []run.Topic{queue(names.Rows), letters, feeds}, Changelog: compacted(names.Changelog(Intake)),
			NewTask: func(i run.TaskInfo) (run.Task, error) {
				return newIntakeTask(&c, byTopic[i.Topic], plans, records, i), nil
			},
		},
		{
			Name: HopDocument, Inputs: []string{names.Rows}, Outputs: []run.Topic{queue(names.Documents), letters, feeds}, Changelog: compacted(names.Changelog(HopDocument)),
			NewTask: func(i run.TaskInfo) (run.Task, error) {
				return &documentTask{op: document.New(i.Store, c.Limits), records: records, partition: i.Partition}, nil
			},
		},
		{
			Name: HopParty, Inputs: []string{names.Documents}, Outputs: []run.Topic{queue(names.Accounts), letters}, Changelog: compacted(names.Changelog(HopParty)),
			NewTask: func(i run.TaskInfo) (run.Task, error) {
				return &partyTask{op: party.New(identity, i.Store), accounts: names.Accounts}, nil
			},
		},
		{
			Name: HopAccount, Inputs: []string{names.Accounts}, Outputs: canonical, Changelog: compacted(names.Changelog(HopAccount)),
			NewTask: func(i run.TaskInfo) (run.Task, error) {
				op, err := account.New(accounts, i.Store)
				if err != nil {
					return nil, err
				}
				return &accountTask{op: op, records: records, partition: i.Partition}, nil
			},
		},
	}
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.Names == (Names{}) {
		c.Names = DefaultNames()
	}
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
