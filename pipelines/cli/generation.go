package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/schemas/registry"
)

// hopRunner runs the hops of the present generation, and those of the next one
// when a rebuild begins it.
type hopRunner struct {
	app     *app
	catalog *catalog.Catalog
	schemas *registry.Remote

	mu  sync.Mutex
	now *run.Transform // nil between generations
	why string         // why there is none
}

// run runs hops until ctx ends.
func (h *hopRunner) run(ctx context.Context) error {
	for {
		names, err := h.awaitGeneration(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		transform, err := h.make(ctx, names)
		if err != nil || transform == nil {
			return err
		}
		h.set(transform, "")
		err = h.app.keep(ctx, transform)
		h.set(nil, "a rebuild has begun")
		if !errors.Is(err, run.ErrGeneration) {
			return err
		}
		h.app.say("a rebuild has begun; the hops end, and begin anew from the first offsets of the sources")
	}
}

// awaitGeneration waits until the present generation may run: a rebuild that
// has begun has first to note what was published.
func (h *hopRunner) awaitGeneration(ctx context.Context) (pipelines.Names, error) {
	for said := false; ; {
		var g pipelines.Generation
		err := h.app.await(ctx, h.app.kafka(), func(ctx context.Context) (err error) {
			if g, err = h.app.generation(ctx); err != nil && !run.Passing(err) {
				return failure(ExitFailed, "pipelines.failed", "read the message; `syncline doctor` looks at the cluster", "%w", err)
			}
			return err
		})
		if err != nil || g.Seeded || ctx.Err() != nil {
			return h.app.names.Of(g.Number), err
		}
		if !said {
			said = true
			h.set(nil, fmt.Sprintf("generation %d: `syncline rebuild all` is to go on with it", g.Number))
			h.app.say("waiting: %s", h.waiting())
		}
		select {
		case <-ctx.Done():
			return pipelines.Names{}, nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (h *hopRunner) make(ctx context.Context, names pipelines.Names) (*run.Transform, error) {
	a := h.app
	spine, err := a.buildSpine(ctx, h.catalog, h.schemas, names)
	if err != nil || spine == nil {
		return nil, err
	}
	cfg := a.engine()
	cfg.Prefix, cfg.Generation = names.Work(), names.Generation
	cfg.EncodeLetter = spine.Letters.Encode
	cfg.LetterTopic = run.Topic{Name: names.Letters, Partitions: int32(a.settings.Partitions), Cleanup: run.Compact} //nolint:gosec // validated
	transform, err := run.NewTransform(cfg, spine.Hops)
	if err != nil {
		return nil, input("config.engine", "correct the setting it names", "%w", err)
	}
	return transform, nil
}

func (h *hopRunner) set(t *run.Transform, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now, h.why = t, why
}

// transform is what runs now, nil if nothing does.
func (h *hopRunner) transform() *run.Transform {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// waiting says why nothing runs.
func (h *hopRunner) waiting() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

// generation asks how far rebuilds are.
func (a *app) generation(ctx context.Context) (pipelines.Generation, error) {
	all, err := run.Instructions(ctx, a.engine())
	if err != nil {
		return pipelines.Generation{}, fmt.Errorf("asking for the generation of the pipelines: %w", err)
	}
	return pipelines.GenerationIn(all), nil
}

// working is the engine's configuration for questions about the hops that run,
// and the names of what they keep.
func (a *app) working(ctx context.Context) (run.Config, pipelines.Names) {
	cfg, names := a.engine(), a.names
	if g, err := a.generation(ctx); err == nil { // else the question itself will say
		names = names.Of(g.Number)
		cfg.Prefix = names.Work()
	}
	return cfg, names
}
