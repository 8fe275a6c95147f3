package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"syncline/pipelines/catalog"
	"syncline/processors/intake"
	"syncline/schemas/change"
	"syncline/schemas/projection"
	"syncline/schemas/registry"
)

// plans keeps the compiled decoders of all sources. Writer schemas are few and
// never change, so nothing is ever thrown away but what did not fit.
type plans struct {
	schemas Schemas
	ctx     context.Context //nolint:containedctx // ends look-ups when the process drains; tasks have no context of their own
	mu      sync.Mutex
	byID    map[planKey]plan
}

type planKey struct {
	topic string
	id    int
	ofKey bool
	gone  string // columns that may be missing
}

type plan struct {
	plan  *projection.Plan
	err   error     // the schema cannot be used
	until time.Time // when err is judged anew; zero: never
}

// misfitError says that a schema does not give what the catalog maps: the table
// waits until one of them is changed.
type misfitError struct {
	first intake.Misfit
	text  string
}

func (e *misfitError) Error() string { return e.text }

// foreignError says that values of a schema are no changes of rows.
type foreignError struct{ judged change.Verdict }

func (e *foreignError) Error() string { return e.judged.Reason }

// recheck is how often the registry is asked whether a schema that lacks a
// mapped column is an older one.
const recheck = 5 * time.Second

func (p *plans) key(src *intake.Source, id int, _ []string) (*projection.Plan, error) {
	return p.get(planKey{topic: src.Topic, id: id, ofKey: true}, func(s *projection.Schema) (*projection.Plan, error) {
		return compile(s, src, src.WantKey())
	})
}

// value compiles a writer's schema that fits the mapping. gone are mapped
// columns that may be missing; where the schema does not give them they read as
// Missing.
func (p *plans) value(src *intake.Source, id int, gone []string) (*projection.Plan, error) {
	return p.get(planKey{topic: src.Topic, id: id, gone: strings.Join(gone, "\x00")}, func(s *projection.Schema) (*projection.Plan, error) {
		// Of a foreign envelope the columns are the least that is wrong.
		if v := src.Judge(s); v.Kind != change.Pass {
			return nil, &foreignError{v}
		}
		misfits := src.Misfits(s)
		want := slices.Clone(src.Want())
		for _, m := range misfits {
			if slices.Contains(gone, m.Column) {
				want[src.Column(m.Column)].Absent = true
			}
		}
		misfits = slices.DeleteFunc(misfits, func(m intake.Misfit) bool { return slices.Contains(gone, m.Column) })
		misfits, err := p.notOlder(src, id, misfits)
		if err != nil {
			return nil, err
		}
		if len(misfits) > 0 {
			return nil, misfit(src.Topic, id, misfits)
		}
		return compile(s, src, want)
	})
}

func compile(s *projection.Schema, src *intake.Source, want []projection.Field) (*projection.Plan, error) {
	plan, err := s.Compile(want, projection.Limits{})
	if err != nil {
		return nil, err
	}
	return plan.WithPlaceholder(src.Placeholder), nil
}

func misfit(topic string, id int, misfits []intake.Misfit) *misfitError {
	all := make([]string, len(misfits))
	for i, m := range misfits {
		all[i] = m.Explain(topic, id)
	}
	return &misfitError{misfits[0], strings.Join(all, "; ")}
}

// notOlder leaves out the columns that came to the table after this schema: a
// later version of the subject has them, and this one's records never did.
func (p *plans) notOlder(src *intake.Source, id int, misfits []intake.Misfit) ([]intake.Misfit, error) {
	if !slices.ContainsFunc(misfits, func(m intake.Misfit) bool { return m.Reason == intake.ReasonColumnGone }) {
		return misfits, nil
	}
	later, err := p.schemas.Later(p.ctx, src.Topic+"-value", id)
	if err != nil && !errors.Is(err, registry.ErrRejected) {
		return nil, err
	}
	for _, text := range later {
		s, err := projection.Parse(text)
		if err != nil {
			continue // its own records will tell
		}
		columns := s.Columns("after")
		misfits = slices.DeleteFunc(misfits, func(m intake.Misfit) bool {
			return m.Reason == intake.ReasonColumnGone && slices.ContainsFunc(columns, func(c projection.Column) bool { return c.Name == m.Column })
		})
	}
	return misfits, nil
}

func (p *plans) get(key planKey, compile func(*projection.Schema) (*projection.Plan, error)) (*projection.Plan, error) {
	p.mu.Lock()
	known, ok := p.byID[key]
	p.mu.Unlock()
	if ok && (known.until.IsZero() || time.Now().Before(known.until)) {
		return known.plan, known.err
	}
	text, err := p.schemas.SchemaByID(p.ctx, key.id)
	if err != nil {
		return nil, err
	}
	known = plan{}
	s, err := projection.Parse(text)
	if err == nil {
		known.plan, err = compile(s)
	}
	if errors.Is(err, registry.ErrUnreachable) {
		return nil, err
	}
	if known.err = err; errors.As(err, new(*misfitError)) {
		known.until = time.Now().Add(recheck)
	}
	p.mu.Lock()
	p.byID[key] = known
	p.mu.Unlock()
	return known.plan, known.err
}

// SchemaMisfit says that a topic's newest schema does not give what the catalog
// maps, so that records of it wait unless that was accepted.
type SchemaMisfit struct {
	Topic   string
	Reason  string // intake.ReasonColumnGone or intake.ReasonKind, of the first column; intake.ReasonEnvelope
	Message string
}

// CheckNewest holds the newest schema of every source against the catalog.
// Topics without a schema fit.
func CheckNewest(ctx context.Context, c *catalog.Catalog, schemas Schemas) ([]SchemaMisfit, error) {
	sources, err := c.Sources()
	if err != nil {
		return nil, err
	}
	var out []SchemaMisfit
	for _, src := range sources {
		v, err := schemas.Latest(ctx, src.Topic+"-value")
		if errors.Is(err, registry.ErrRejected) {
			continue // no schema yet
		}
		if err != nil {
			return out, fmt.Errorf("asking for the schema of %s: %w", src.Topic, err)
		}
		s, err := projection.Parse(v.Schema)
		if err != nil {
			continue // its records will be letters
		}
		if v := src.Judge(s); v.Kind != change.Pass {
			if v.Kind == change.Park {
				out = append(out, SchemaMisfit{Topic: src.Topic, Reason: v.Reason, Message: fmt.Sprintf("%s: %v", src.Topic, v.Err)})
			}
			continue
		}
		misfits := slices.DeleteFunc(src.Misfits(s), func(m intake.Misfit) bool { return slices.Contains(src.Gone, m.Column) })
		if len(misfits) > 0 {
			e := misfit(src.Topic, v.ID, misfits)
			out = append(out, SchemaMisfit{Topic: src.Topic, Reason: e.first.Reason, Message: e.text})
		}
	}
	return out, nil
}

// warnOfMisfits says before the first record what its table will wait for.
func warnOfMisfits(ctx context.Context, c *Config) {
	found, err := CheckNewest(ctx, c.Catalog, c.Schemas)
	for _, m := range found {
		c.Log.Warn("a source's schema does not fit the catalog", "reason", m.Reason, "error", m.Message)
	}
	if err != nil {
		c.Log.Warn("the sources' schemas could not be checked", "error", err)
	}
}
