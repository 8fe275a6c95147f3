package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"syncline/pipelines/run"
	"syncline/schemas/registry"
	"syncline/sinks/clickhouse"
)

// part is one of the three servers that the pipelines need.
type part struct {
	name    string // in messages: "Kafka", …
	code    string // begins the codes of its failures
	setting string // flag that gives its address
	address string
	web     bool // spoken to over HTTP
}

func (a *app) kafka() part {
	return part{"Kafka", "kafka", "--brokers", strings.Join(a.settings.Brokers, ","), false}
}

func (a *app) registry() part {
	return part{"the schema registry", "registry", "--registry-url", a.settings.RegistryURL, true}
}

func (a *app) clickHouse() part {
	return part{"ClickHouse", "clickhouse", "--clickhouse", a.settings.ClickHouse, true}
}

// retryPause is between tries to reach what is down at start.
const retryPause = 2 * time.Second

// closings is how often in a row a server may close a connection without an
// answer before that is taken for what it is: no HTTP.
const closings = 3

// await repeats do until it succeeds, saying for whom it waits, and ends with
// what no waiting can cure. An ended context is no failure: nil is returned, and
// the caller looks at the context.
func (a *app) await(ctx context.Context, p part, do func(context.Context) error) error {
	closed := 0
	begun := time.Now()
	for try := 1; ; try++ {
		err := do(ctx)
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop before there was anything
		}
		if p.web && errors.Is(err, io.EOF) {
			closed++
		} else {
			closed = 0
		}
		if f := p.hopeless(err); f != nil {
			return f
		}
		if closed >= closings {
			return environment(p.code+".protocol", "correct "+p.setting, "%s at %s: it closes every connection without an answer; the address must be that of a plain HTTP interface", p.name, p.address)
		}
		if p.web && try == 1 && a.answersAsBroker(ctx, p.address) {
			return environment(p.code+".protocol", "correct "+p.setting, "%s at %s: a Kafka broker answers there; the address must be that of an HTTP interface", p.name, p.address)
		}
		a.say("waiting for %s at %s (%s): %v", p.name, p.address, time.Since(begun).Round(time.Second), root(err))
		if !pause(ctx) {
			return nil
		}
	}
}

// answersAsBroker tells whether Kafka is at the address: it keeps silent, or
// closes, at HTTP.
func (a *app) answersAsBroker(ctx context.Context, address string) bool {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		address = u.Host
	}
	engine := a.engine()
	engine.Brokers = []string{address}
	return run.Reach(ctx, engine) == nil
}

// hopeless judges an error of a server: a Failure where waiting cures nothing,
// nil where it may.
func (p part) hopeless(err error) *Failure {
	refuse := func(kind, fix, rule string) *Failure {
		return environment(p.code+"."+kind, fix, "%s at %s: %w; %s", p.name, p.address, root(err), rule)
	}
	if known, ok := errors.AsType[*Failure](err); ok {
		return known
	}
	if unfit, ok := errors.AsType[*run.Unfit](err); ok {
		return environment(p.code+".unfit", unfit.Fix, "%s at %s: %w", p.name, p.address, unfit)
	}
	if known, ok := errors.AsType[*clickhouse.Error](err); ok && known.Permanent() {
		return environment(p.code+".refused", known.Fix, "%s at %s: %w", p.name, p.address, err)
	}
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknownAuthority := errors.AsType[x509.UnknownAuthorityError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, registry.ErrDenied):
		return refuse("denied", "correct SYNCLINE_REGISTRY_USER and SYNCLINE_REGISTRY_PASSWORD", "the registry must accept the login")
	case errors.Is(err, registry.ErrForeign):
		return refuse("protocol", "correct "+p.setting, "the address must be that of a schema registry with Confluent's API")
	case errors.Is(err, registry.ErrRejected):
		return refuse("rejected", "see `syncline registry check`; a schema that Syncline has registered must not be changed by others", "the registry must take the canonical schemas")
	case badCertificate || unknownAuthority:
		return refuse("tls", "trust its authority (SSL_CERT_FILE), or correct the host name in "+p.setting, "the certificate must be one that is trusted here")
	case notTLS || errors.Is(err, http.ErrSchemeMismatch):
		return refuse("tls", "correct "+p.setting+": http for a plain server, https for one with TLS", "both sides must agree about TLS")
	case strings.Contains(err.Error(), "malformed HTTP"): // net/http has no type for it
		return refuse("protocol", "correct "+p.setting, "the address must be that of an HTTP interface")
	}
	return nil
}

// keep keeps the hops running: if they end because of trouble on the way to the
// brokers they begin anew.
func (a *app) keep(ctx context.Context, t *run.Transform) error {
	var drained error // where ctx has ended, the error of the drain
	var moved error   // a rebuild has begun a new generation
	err := a.await(ctx, a.kafka(), func(ctx context.Context) error {
		err := t.Run(ctx)
		drained = err
		switch {
		case err == nil || run.Passing(err):
			return err
		case errors.Is(err, run.ErrGeneration):
			moved = err
			return nil
		case errors.Is(err, run.ErrFenced):
			return lost(err)
		}
		if f := a.kafka().hopeless(err); f != nil {
			return f
		}
		return failure(ExitFailed, "pipelines.failed", "read the message; `syncline doctor` looks at the cluster", "%w", err)
	})
	if err == nil && ctx.Err() != nil {
		return drained
	}
	return errors.Join(err, moved)
}

// lost is the end of a process whose slot another has taken, for example after
// it was frozen for longer than the session time-out.
func lost(err error) *Failure {
	return environment("slot.lost", "give every process a --slot of its own; after a freeze start this one again", "%w", err)
}

// claim takes the slot, waiting for brokers that are down.
func (a *app) claim(ctx context.Context, parts []string) (presence *run.Presence, err error) {
	err = a.await(ctx, a.kafka(), func(ctx context.Context) error {
		if err := run.Reach(ctx, a.engine()); err != nil {
			return err
		}
		presence, err = run.Claim(ctx, a.engine(), a.names.Processes, Version, parts)
		if taken, ok := errors.AsType[*run.Taken](err); ok {
			return environment("slot.taken", fmt.Sprintf("end process %d on %s, or start this one with another --slot", taken.Holder.PID, taken.Holder.Host), "%w", taken)
		}
		if err != nil && !run.Passing(err) {
			if f := a.kafka().hopeless(err); f != nil {
				return f
			}
			return failure(ExitFailed, "slot.failed", "read the message; `syncline doctor` looks at the cluster", "taking slot %d: %w", a.settings.Slot, err)
		}
		return err
	})
	return presence, err
}

func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(retryPause):
		return true
	}
}
