package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/riferrei/srclient"
	"golang.org/x/sync/singleflight"
)

// The kinds of failure of a [Client], for errors.Is. Exactly one of the first
// four stands in each error. Beside ErrUnreachable there may stand an ended
// context of the caller's own, or what keeps a registry that is up from
// answering.
var (
	// ErrUnknownID: the registry answered, and has no schema of that id.
	ErrUnknownID = errors.New("unknown schema id")
	// ErrUnreachable: no answer, or one that says nothing about the question
	// (time-out, refused login, proxy, store error). Asking again may help.
	ErrUnreachable = errors.New("schema registry unreachable")
	// ErrUnsupported: the id stands for something other than an Avro schema
	// that is complete in itself. Asking again cannot help.
	ErrUnsupported = errors.New("unsupported schema")
	// ErrRejected: the registry answered, and refuses what was asked of it
	// (an incompatible or invalid schema, a subject or version that is not
	// there). The message has its reason.
	ErrRejected = errors.New("rejected by the schema registry")
	// ErrDenied: what is there wants another login, or gives this one no right.
	ErrDenied = errors.New("login refused")
	// ErrForeign: what answers at the address does not speak as a registry.
	ErrForeign = errors.New("not a schema registry")
)

// Client is what the pipelines need of a schema registry. Implementations are
// safe for concurrent use.
type Client interface {
	// SchemaByID gives the text of a schema. Errors: [ErrUnknownID],
	// [ErrUnreachable], [ErrUnsupported].
	SchemaByID(ctx context.Context, id int) (string, error)
	// Register gives the id of a schema in a subject, registering it as the
	// next version if need be. Errors: [ErrRejected], [ErrUnreachable].
	Register(ctx context.Context, subject, schema string) (int, error)
	// Latest gives the newest version of a subject. Errors: [ErrRejected],
	// [ErrUnreachable].
	Latest(ctx context.Context, subject string) (Version, error)
	// Later gives the texts of the versions of a subject that came after the one
	// with this id, newest first; none where the subject does not have the id.
	// Errors: as of Latest.
	Later(ctx context.Context, subject string, id int) ([]string, error)
}

// Version is one version of a subject.
type Version struct {
	Subject string
	Version int // from 1
	ID      int
	Schema  string
}

// ClientConfig is what [NewClient] needs. Only URL is required.
type ClientConfig struct {
	// URL is the registry's address (http or https). A user and password in
	// it are taken as Username and Password.
	URL string
	// Username and Password are for basic authentication.
	Username, Password string
	// HTTPClient carries the requests: the place for TLS settings and
	// proxies. It is copied. The default is a plain one.
	HTTPClient *http.Client
	// Timeout bounds one exchange with the registry; the default is 5 s.
	Timeout time.Duration
	// UnknownTTL is for how long an id counts as unknown before the registry
	// is asked again; the default is 2 s, a negative value asks every time.
	UnknownTTL time.Duration
	// MaxCached bounds the schemas kept; the default is 10,000. Beyond it an
	// arbitrary one makes room.
	MaxCached int
	// Now is the clock of UnknownTTL; the default is time.Now.
	Now func() time.Time
}

// Remote is the [Client] of a registry that is reached over HTTP: ours or any
// other that speaks Confluent's API. Good ids are kept for ever, for a
// registry never changes what an id means.
type Remote struct {
	cfg    ClientConfig
	base   string // the address, free of credentials
	http   *http.Client
	flight singleflight.Group

	mu      sync.RWMutex
	known   map[int]string
	refused map[int]refusal
}

// refusal is an answer that holds for a while.
type refusal struct {
	err   error
	until time.Time
}

var _ Client = (*Remote)(nil)

const (
	maxRefused     = 4096
	maxAnswerBytes = 8 << 20
)

// NewClient returns a client; it does not call the registry yet. Its errors
// never hold the address's credentials.
func NewClient(cfg ClientConfig) (*Remote, error) {
	address, err := url.Parse(cfg.URL)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		// The parser's message would quote the address with its password.
		return nil, errors.New("the registry's address is not a URL such as http://127.0.0.1:8081")
	}
	if address.RawQuery != "" || address.Fragment != "" {
		return nil, errors.New("the registry's address must end with its path: leave out what follows ? or #")
	}
	if u := address.User; u != nil {
		if cfg.Username == "" && cfg.Password == "" {
			cfg.Username = u.Username()
			cfg.Password, _ = u.Password()
		}
		address.User = nil
	}
	setDefault(&cfg.Timeout, 5*time.Second)
	setDefault(&cfg.UnknownTTL, 2*time.Second)
	setDefault(&cfg.MaxCached, 10_000)
	if cfg.Timeout < 0 || cfg.MaxCached < 0 {
		return nil, errors.New("registry client: Timeout and MaxCached must not be negative")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Remote{
		cfg: cfg, base: strings.TrimSuffix(address.String(), "/"),
		known: map[int]string{}, refused: map[int]refusal{},
	}
	c.http = &http.Client{Transport: http.DefaultTransport}
	if cfg.HTTPClient != nil {
		own := *cfg.HTTPClient
		c.http = &own
		if c.http.Transport == nil {
			c.http.Transport = http.DefaultTransport
		}
	}
	c.http.Transport = bounded{c.http.Transport}
	return c, nil
}

// Close lets go of idle connections of a transport of one's own.
func (c *Remote) Close() {
	if own := c.cfg.HTTPClient; own != nil {
		own.CloseIdleConnections()
	}
}

// SchemaByID implements [Client]. Concurrent calls for one id share one
// request; a caller whose context ends leaves it to the others.
func (c *Remote) SchemaByID(ctx context.Context, id int) (string, error) {
	if text, err, found := c.cached(id); found {
		return text, err
	}
	result := c.flight.DoChan(strconv.Itoa(id), func() (any, error) {
		// Another flight may have landed since.
		if text, err, found := c.cached(id); found {
			return text, err
		}
		return c.fetch(context.WithoutCancel(ctx), id)
	})
	select {
	case r := <-result:
		text, _ := r.Val.(string)
		return text, r.Err
	case <-ctx.Done():
		return "", fmt.Errorf("%w: looking up schema id %d: %w", ErrUnreachable, id, context.Cause(ctx))
	}
}

// AskAnew forgets which ids were not there: the next look-up of each asks again,
// however short the time since. It is safe for concurrent use.
func (c *Remote) AskAnew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.refused)
}

func (c *Remote) cached(id int) (text string, err error, found bool) { //nolint:revive // found says that err is an answer
	c.mu.RLock()
	defer c.mu.RUnlock()
	if text, ok := c.known[id]; ok {
		return text, nil, true
	}
	if r, ok := c.refused[id]; ok && c.cfg.Now().Before(r.until) {
		return "", r.err, true
	}
	return "", nil, false
}

func (c *Remote) fetch(ctx context.Context, id int) (string, error) {
	found, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) (*srclient.Schema, error) {
		return sr.GetSchema(id)
	})
	if err == nil {
		if kind := found.SchemaType(); (kind != nil && *kind != srclient.Avro && *kind != "") || len(found.References()) > 0 {
			err = fmt.Errorf("%w: id %d is not a self-contained Avro schema", ErrUnsupported, id)
		} else if found.Schema() == "" {
			return "", fmt.Errorf("%w: looking up schema id %d: the answer has no schema", ErrUnreachable, id)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		makeRoom(c.known, c.cfg.MaxCached)
		c.known[id] = found.Schema()
		delete(c.refused, id)
		return found.Schema(), nil
	case errors.Is(err, ErrUnsupported):
	default:
		code, answered := answerCode(err)
		if !answered || code != codeSchemaNotFound {
			if answered { // whatever the answer, it says nothing about the id
				err = errors.New(clipTo(err.Error(), 2000))
			}
			return "", fmt.Errorf("%w: looking up schema id %d: %w", ErrUnreachable, id, err)
		}
		err = fmt.Errorf("%w %d: the registry at %s has no schema of that id", ErrUnknownID, id, c.base)
	}
	if c.cfg.UnknownTTL > 0 {
		makeRoom(c.refused, maxRefused)
		c.refused[id] = refusal{err: err, until: c.cfg.Now().Add(c.cfg.UnknownTTL)}
	}
	return "", err
}

// makeRoom drops an arbitrary member of a full map.
func makeRoom[V any](m map[int]V, most int) {
	for id := range m {
		if len(m) < most {
			return
		}
		delete(m, id)
	}
}

// Register implements [Client].
func (c *Remote) Register(ctx context.Context, subject, schema string) (int, error) {
	made, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) (*srclient.Schema, error) {
		return sr.CreateSchema(subject, schema, srclient.Avro)
	})
	if err != nil {
		return 0, classify(err, "registering a schema in subject "+clip(subject))
	}
	if made.ID() < 1 {
		return 0, fmt.Errorf("%w: registering a schema in subject %s: the answer has no id", ErrUnreachable, clip(subject))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.refused, made.ID())
	return made.ID(), nil
}

// Latest implements [Client].
func (c *Remote) Latest(ctx context.Context, subject string) (Version, error) {
	v, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) (*srclient.Schema, error) {
		return sr.GetLatestSchema(subject)
	})
	if err != nil {
		return Version{}, classify(err, "asking for the latest version of subject "+clip(subject))
	}
	return Version{Subject: subject, Version: v.Version(), ID: v.ID(), Schema: v.Schema()}, nil
}

// maxLater bounds how many versions Later looks back.
const maxLater = 100

// Later implements [Client].
func (c *Remote) Later(ctx context.Context, subject string, id int) ([]string, error) {
	versions, err := c.Versions(ctx, subject)
	if err != nil {
		return nil, err
	}
	slices.Sort(versions)
	var later []string
	for _, n := range slices.Backward(versions[max(0, len(versions)-maxLater):]) {
		v, err := c.Version(ctx, subject, n)
		if err != nil {
			return nil, err
		}
		if v.ID == id {
			return later, nil
		}
		later = append(later, v.Schema)
	}
	return nil, nil
}
