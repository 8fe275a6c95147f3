package run

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Unfit is a cluster that cannot be used as it is: no waiting helps.
type Unfit struct {
	Rule, Fix string
	Err       error
}

// Error gives what was found and the rule that it breaks.
func (u *Unfit) Error() string { return u.Err.Error() + "; " + u.Rule }

// Unwrap returns what was found.
func (u *Unfit) Unwrap() error { return u.Err }

// reachTries is how often an address is asked that closes the connection
// without a word: a broker that starts or ends does so too, for a moment.
const reachTries = 3

// Reach asks whether brokers answer. Its error is an *Unfit where asking again
// is in vain; any other passes when they are up.
func Reach(ctx context.Context, cfg Config) error {
	for try := 1; ; try++ {
		err := cfg.askOnce(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if u := unfit(err); u != nil {
			return u
		}
		if u := cfg.stranger(ctx, err); u != nil {
			return u
		}
		if !closedAtOnce(err) {
			return err
		}
		if try == reachTries {
			return &Unfit{
				Err:  fmt.Errorf("%s closes every connection before it has answered", strings.Join(cfg.Brokers, ",")),
				Rule: "the address must be a plain Kafka listener without TLS and without a login", Fix: "give the address of such a listener with --brokers",
			}
		}
		if !pause(ctx, 500*time.Millisecond) {
			return ctx.Err()
		}
	}
}

func (c Config) askOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(append(c.withDefaults().connectOpts(c.withDefaults().Prefix+".reach"), kgo.RequestRetries(0), kgo.DialTimeout(3*time.Second))...)
	if err != nil {
		return &Unfit{Err: err, Rule: "brokers are given as host:port", Fix: "correct --brokers"}
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		return fmt.Errorf("asking the brokers: %w", err)
	}
	return nil
}

// unfit judges what a broker or the way to it has said; nil where it may pass.
func unfit(err error) *Unfit {
	if u, ok := errors.AsType[*Unfit](err); ok {
		return u
	}
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknownAuthority := errors.AsType[x509.UnknownAuthorityError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case badCertificate || unknownAuthority:
		return &Unfit{Err: err, Rule: "the brokers' certificate must be one that is trusted here", Fix: "trust its authority, or correct the host name in --brokers"}
	case notTLS:
		return &Unfit{Err: err, Rule: "client and listener must agree about TLS", Fix: "give the listener's port that speaks it"}
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return &Unfit{Err: err, Rule: "the brokers must accept the login", Fix: "correct user, password and mechanism"}
	case errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.TopicAuthorizationFailed),
		errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return &Unfit{Err: err, Rule: "the account needs the rights that ARCHITECTURE.md lists under Topics", Fix: "grant them, on names that begin with the prefix"}
	}
	return nil
}

func closedAtOnce(err error) bool {
	_, first := errors.AsType[*kgo.ErrFirstReadEOF](err)
	return first || errors.Is(err, io.EOF)
}

// stranger looks at what listens at the addresses where no broker answers: an
// HTTP server keeps silent at a broker's greeting, and a TLS listener closes.
func (c Config) stranger(ctx context.Context, err error) *Unfit {
	for _, address := range c.Brokers {
		switch first := firstWords(ctx, address); {
		case strings.HasPrefix(first, "HTTP/"):
			return &Unfit{Err: fmt.Errorf("%s speaks HTTP: %w", address, err), Rule: "a broker speaks Kafka's own protocol", Fix: "correct --brokers: its port is most often 9092"}
		case strings.HasPrefix(first, "\x15\x03"):
			return &Unfit{Err: fmt.Errorf("%s wants TLS: %w", address, err), Rule: "client and listener must agree about TLS", Fix: "give the port of a plain listener with --brokers"}
		}
	}
	return nil
}

// firstWords are what a listener answers to an HTTP request, in at most two
// seconds; a broker answers nothing.
func firstWords(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // without one the read below would end with the listener's patience
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return ""
	}
	b := make([]byte, 8)
	n, _ := io.ReadFull(conn, b) // fewer bytes are an answer too
	return string(b[:n])
}

// Passing tells whether what ended a Run is trouble on the way to the brokers
// that may pass, so that the Run may be begun anew.
func Passing(err error) bool {
	if err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrStopped) || unfit(err) != nil {
		return false
	}
	if refused, ok := errors.AsType[*kerr.Error](err); ok {
		return refused.Retriable
	}
	_, network := errors.AsType[net.Error](err)
	return network || closedAtOnce(err) || kgo.IsRetryableBrokerErr(err) || errors.Is(err, context.DeadlineExceeded)
}
