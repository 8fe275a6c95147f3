package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrNotWhole says that a source topic does not hold all that was ever in it.
var ErrNotWhole = errors.New("its first records were deleted")

// StartOver deletes what pipelines under cfg's prefix have derived: the topics that
// derived names, and the groups, so that the next start takes the sources from
// their beginning. Before anything is touched it makes sure that the sources still
// begin there, else the error is ErrNotWhole. It may be repeated. No process of these
// pipelines may run.
func StartOver(ctx context.Context, cfg Config, sources []string, derived func(topic string) bool) (topics []string, err error) {
	cl, err := kgo.NewClient(cfg.withDefaults().connectOpts(cfg.withDefaults().Prefix + ".startover")...)
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	starts, err := listed(admin.ListStartOffsets(ctx, sources...))
	if err != nil {
		return nil, fmt.Errorf("listing the starts of the sources: %w", err)
	}
	starts.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > 0 {
			err = errors.Join(err, fmt.Errorf("%s, partition %d, begins at offset %d: %w", o.Topic, o.Partition, o.Offset, ErrNotWhole))
		}
	})
	if err != nil {
		return nil, err
	}
	all, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	for _, name := range all.Names() {
		if derived(name) {
			topics = append(topics, name)
		}
	}
	slices.Sort(topics)
	// Groups first: one without its topics would be taken for a loss of records.
	if err := forgetGroups(ctx, admin, cfg.withDefaults()); err != nil {
		return nil, err
	}
	if len(topics) == 0 {
		return nil, nil
	}
	deleted, err := admin.DeleteTopics(ctx, topics...)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("deleting topics: %w", err)
	}
	// Deleting them is not done when it is answered.
	return topics, until(ctx, time.Minute, func(ctx context.Context) (bool, error) {
		left, err := admin.ListTopics(ctx)
		if err != nil {
			return false, fmt.Errorf("listing topics: %w", err)
		}
		return !slices.ContainsFunc(topics, left.Has), nil
	})
}

func forgetGroups(ctx context.Context, admin *kadm.Client, cfg Config) error {
	groups, err := admin.ListGroups(ctx)
	if errors.Is(err, kerr.CoordinatorNotAvailable) {
		return nil // there has never been one
	}
	if err != nil {
		return fmt.Errorf("listing groups: %w", err)
	}
	names := slices.DeleteFunc(groups.Groups(), func(name string) bool { return !strings.HasPrefix(name, cfg.Prefix+".") })
	if len(names) == 0 {
		return nil
	}
	// A member that was killed counts until its session has run out.
	return until(ctx, cfg.SessionTimeout+30*time.Second, func(ctx context.Context) (bool, error) {
		deleted, err := admin.DeleteGroups(ctx, names...)
		if err != nil {
			return false, fmt.Errorf("deleting groups: %w", err)
		}
		var full error
		for _, d := range deleted {
			switch {
			case d.Err == nil, errors.Is(d.Err, kerr.GroupIDNotFound):
			case errors.Is(d.Err, kerr.NonEmptyGroup):
				full = fmt.Errorf("the group %s has members: do its pipelines still run?", d.Group)
			default:
				return false, fmt.Errorf("deleting the group %s: %w", d.Group, d.Err)
			}
		}
		return full == nil, full
	})
}

// until asks again until done, or until it takes too long: then the error is the
// last one that came without being done. An error of the context ends it at once.
func until(ctx context.Context, limit time.Duration, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}
