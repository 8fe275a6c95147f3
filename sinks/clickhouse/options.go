package clickhouse

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Protocol is how the sink speaks to the server.
type Protocol string

// The protocols. HTTP goes through every proxy and is what the embedded engine
// speaks; Native saves a little time.
const (
	HTTP   Protocol = "http"
	Native Protocol = "native"
)

// Compression is how blocks are compressed on the wire.
type Compression string

// The compressions. None is best on loopback.
const (
	None Compression = "none"
	LZ4  Compression = "lz4"
	ZSTD Compression = "zstd"
)

// Options is all that the sink can be told. The zero value of a field means its
// default.
type Options struct {
	Topic       func(record string) string // the topic of a record, by its name in schemas/avsc; needed
	Addresses   []string                   // host:port; the first that answers is used; default 127.0.0.1:8123
	Database    string                     // default "syncline"
	User        string                     // default "default"
	Password    string                     // never logged, never in an error
	TLS         *tls.Config                // nil: no TLS
	Protocol    Protocol                   // default HTTP
	Compression Compression                // default LZ4
	DialTimeout time.Duration              // default 5 s
	ReadTimeout time.Duration              // for the answer to one request; default 30 s
	MaxConns    int                        // default 16: a request of every topic at once
	MaxRows     int                        // of one insert; a larger batch is split; default 50,000
	MaxBytes    int                        // of the record values of one insert; default 16 MiB
	Logger      *slog.Logger               // default: none
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// withDefaults returns o with its defaults, or what is wrong with it.
func (o Options) withDefaults() (Options, error) {
	if len(o.Addresses) == 0 {
		o.Addresses = []string{"127.0.0.1:8123"}
	}
	setDefault(&o.Database, "syncline")
	setDefault(&o.User, "default")
	setDefault(&o.Protocol, HTTP)
	setDefault(&o.Compression, LZ4)
	setDefault(&o.DialTimeout, 5*time.Second)
	setDefault(&o.ReadTimeout, 30*time.Second)
	setDefault(&o.MaxConns, 16)
	setDefault(&o.MaxRows, 50_000)
	setDefault(&o.MaxBytes, 16<<20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	if o.Topic == nil {
		errs = append(errs, errors.New("topics: none named"))
	}
	if !identifier.MatchString(o.Database) {
		errs = append(errs, fmt.Errorf("database %q: a name of letters, digits and underscores, at most 64, not beginning with a digit", o.Database))
	}
	if o.Protocol != HTTP && o.Protocol != Native {
		errs = append(errs, fmt.Errorf("protocol %q: http or native", o.Protocol))
	}
	if _, ok := o.Compression.method(); !ok {
		errs = append(errs, fmt.Errorf("compression %q: none, lz4 or zstd", o.Compression))
	}
	if o.DialTimeout < 0 || o.ReadTimeout < 0 || o.MaxConns < 0 || o.MaxRows < 0 || o.MaxBytes < 0 {
		errs = append(errs, errors.New("timeouts and limits must not be negative"))
	}
	return o, errors.Join(errs...)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Compression) method() (m clickhouse.CompressionMethod, ok bool) {
	switch c {
	case None:
		return clickhouse.CompressionNone, true
	case LZ4:
		return clickhouse.CompressionLZ4, true
	case ZSTD:
		return clickhouse.CompressionZSTD, true
	}
	return 0, false
}

// client returns the client's options for the given database.
func (o Options) client(database string) *clickhouse.Options {
	protocol := clickhouse.HTTP
	if o.Protocol == Native {
		protocol = clickhouse.Native
	}
	c := &clickhouse.Options{
		Protocol: protocol,
		Addr:     o.Addresses,
		Auth:     clickhouse.Auth{Database: database, Username: o.User, Password: o.Password},
		TLS:      o.TLS,
		Settings: clickhouse.Settings{
			// The default of new servers is to collect inserts and to cut them
			// anew, which tokens and ranges do not survive.
			"async_insert": 0,
		},
		DialTimeout:     o.DialTimeout,
		ReadTimeout:     o.ReadTimeout,
		MaxOpenConns:    o.MaxConns,
		MaxIdleConns:    o.MaxConns,
		ConnMaxLifetime: time.Hour,
	}
	if m, _ := o.Compression.method(); m != clickhouse.CompressionNone {
		c.Compression = &clickhouse.Compression{Method: m}
	}
	return c
}
