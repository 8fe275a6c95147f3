package cli

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"syncline/pipelines/plainfile"
)

// Secret is a text that printing masks.
type Secret string

// String masks the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "•••"
}

// GoString masks the secret in %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText masks the secret in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Settings is the configuration of every command. Each field can be given as a
// flag (--registry-url), in the environment (SYNCLINE_REGISTRY_URL) or in the
// file named by --config (registry_url: …); the flag wins over the environment,
// the environment over the file. Secrets have no flag.
type Settings struct {
	Brokers            []string      `koanf:"brokers" help:"Kafka bootstrap addresses, host:port"`
	RegistryURL        string        `koanf:"registry_url" help:"schema registry, http or https"`
	RegistryUser       string        `koanf:"registry_user" help:"user of the schema registry"`
	RegistryPassword   Secret        `koanf:"registry_password"`
	ClickHouse         string        `koanf:"clickhouse" help:"ClickHouse HTTP interface, host:port (CLICKHOUSE_ADDR counts too)"`
	ClickHouseUser     string        `koanf:"clickhouse_user" help:"user of ClickHouse"`
	ClickHousePassword Secret        `koanf:"clickhouse_password"`
	Database           string        `koanf:"database" help:"ClickHouse database of tables and views"`
	Catalog            string        `koanf:"catalog" help:"catalog: a YAML file, or the name of a built-in one (tryton, company)"`
	DataDir            string        `koanf:"data_dir" help:"directory of the embedded platform"`
	Prefix             string        `koanf:"prefix" help:"begins the names of topics, groups and ids; another set of pipelines on the same cluster takes another, and a database of its own"`
	Slot               int           `koanf:"slot" help:"number of this process among those that share the work, from 0"`
	Partitions         int           `koanf:"partitions" help:"partitions of the topics that Syncline owns; fixed at first start"`
	Replication        int           `koanf:"replication" help:"replicas of the topics that Syncline creates; -1 is the broker's default"`
	UnknownSchemaWait  time.Duration `koanf:"unknown_schema_wait" help:"how long a record waits for its schema id to appear"`
	SweepWait          time.Duration `koanf:"sweep_wait" help:"how long rows of a full snapshot may be on their way when its closing row is there, before rows that it lacks are deleted"`
	MaxRecordBytes     int           `koanf:"max_record_bytes" help:"largest source record, key and value; larger ones become letters"`
	LetterLimit        int           `koanf:"letter_limit" help:"letters among the last 10,000 records of a partition at which its feed stops, if they are letter_percent of them too; 0 for no limit"`
	LetterPercent      int           `koanf:"letter_percent" help:"share of letters among them from which letter_limit counts"`
	CommitCeiling      time.Duration `koanf:"commit_ceiling" help:"longest transaction"`
	FlushInterval      time.Duration `koanf:"flush_interval" help:"longest time a row waits before it is written to ClickHouse"`
	PurgeInterval      time.Duration `koanf:"purge_interval" help:"how often records that were read are deleted from Syncline's own queues"`
	Compression        string        `koanf:"compression" help:"of produced batches: none, lz4, zstd or snappy"`
	LogLevel           string        `koanf:"log_level" help:"debug, info, warn or error"`
}

func defaults() Settings {
	return Settings{
		Brokers: []string{"127.0.0.1:9092"}, RegistryURL: "http://127.0.0.1:8081", ClickHouse: "127.0.0.1:8123",
		Database: "syncline", Catalog: "tryton", DataDir: defaultDataDir(), Prefix: "syncline", Partitions: 4, Replication: -1,
		UnknownSchemaWait: time.Minute, SweepWait: 10 * time.Second, MaxRecordBytes: 1 << 20, LetterLimit: 1000, LetterPercent: 20, CommitCeiling: 100 * time.Millisecond,
		FlushInterval: 500 * time.Millisecond, PurgeInterval: 30 * time.Second, Compression: "lz4", LogLevel: "warn",
	}
}

func defaultDataDir() string {
	if dir, err := os.UserHomeDir(); err == nil {
		return filepath.Join(dir, ".local", "share", "syncline")
	}
	return "syncline-data"
}

// addSettings declares a flag for every setting that is no secret.
func addSettings(flags *pflag.FlagSet) {
	d := reflect.ValueOf(defaults())
	for i := range d.NumField() {
		f := d.Type().Field(i)
		name, help := strings.ReplaceAll(f.Tag.Get("koanf"), "_", "-"), f.Tag.Get("help")
		switch v := d.Field(i).Interface().(type) {
		case Secret:
		case string:
			flags.String(name, v, help)
		case []string:
			flags.StringSlice(name, v, help)
		case int:
			flags.Int(name, v, help)
		case time.Duration:
			flags.Duration(name, v, help)
		}
	}
}

// loadSettings merges defaults, file, environment and flags; given names the
// settings that came from one of these three, by their keys.
func loadSettings(flags *pflag.FlagSet, configFile string) (s Settings, given map[string]bool, err error) {
	k := koanf.New(".")
	given = map[string]bool{}
	base := map[string]any{}
	known := map[string]bool{}
	d := reflect.ValueOf(defaults())
	for i := range d.NumField() {
		key := d.Type().Field(i).Tag.Get("koanf")
		base[key], known[key] = d.Field(i).Interface(), true
	}
	if err := k.Load(confmap.Provider(base, "."), nil); err != nil {
		return s, nil, err
	}
	if configFile != "" {
		only, err := readConfig(configFile)
		if err != nil {
			return s, nil, err
		}
		for _, key := range only.Keys() {
			if !known[key] {
				return s, nil, input("config.unknown", "see `syncline help run` for the names", "%s: there is no setting %q", configFile, key)
			}
			given[key] = true
		}
		if err := k.Merge(only); err != nil {
			return s, nil, err
		}
	}
	if addr := os.Getenv("CLICKHOUSE_ADDR"); addr != "" {
		if err := k.Set("clickhouse", addr); err != nil {
			return s, nil, err
		}
	}
	err = k.Load(env.Provider(".", env.Opt{Prefix: envPrefix, TransformFunc: func(key, value string) (string, any) {
		key = strings.ToLower(strings.TrimPrefix(key, envPrefix))
		if !known[key] {
			return "", nil
		}
		given[key] = true
		if key == "brokers" {
			return key, strings.Split(value, ",")
		}
		return key, value
	}}), nil)
	if err != nil {
		return s, nil, err
	}
	err = k.Load(posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
		key := strings.ReplaceAll(f.Name, "-", "_")
		if !f.Changed || !known[key] {
			return "", nil
		}
		given[key] = true
		return key, posflag.FlagVal(flags, f)
	}), nil)
	if err != nil {
		return s, nil, err
	}
	if err := k.Unmarshal("", &s); err != nil {
		return s, nil, input("config.invalid", "durations are written as 500ms or 1m, numbers plainly", "reading the settings: %s", unreadable(err, known))
	}
	s.takeLogin()
	return s, given, s.validate()
}

// unreadable names the settings whose values cannot be read. The decoder's own
// words quote the values, and one of them may be a password.
func unreadable(err error, known map[string]bool) string {
	var names []string
	for _, m := range settingName.FindAllStringSubmatch(err.Error(), -1) {
		if known[m[1]] && !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	if len(names) == 0 {
		return "a value is of the wrong kind"
	}
	return strings.Join(names, ", ") + ": the value is of the wrong kind"
}

var settingName = regexp.MustCompile(`'([a-z_]+)'`)

// takeLogin moves user and password out of the registry's address, so that the
// address can be shown. The settings of their own win.
func (s *Settings) takeLogin() {
	u, err := url.Parse(s.RegistryURL)
	if err != nil || u.User == nil {
		return
	}
	if s.RegistryUser == "" && s.RegistryPassword == "" {
		password, _ := u.User.Password()
		s.RegistryUser, s.RegistryPassword = u.User.Username(), Secret(password)
	}
	u.User = nil
	s.RegistryURL = u.String()
}

// readConfig reads a file with settings. What is wrong with its YAML is told by
// line alone: a parser's own words may quote a password.
func readConfig(name string) (*koanf.Koanf, error) {
	text, err := plainfile.Read(name, 1<<20)
	if err != nil {
		return nil, input("config.file", "give a YAML file of at most 1 MiB", "reading the settings: %w", err)
	}
	values, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		where := ""
		if line := yamlLine.FindStringSubmatch(err.Error()); line != nil {
			where = ", at or before line " + line[1]
		}
		return nil, input("config.file", "correct it: a line for each setting, name: value", "reading the settings: %s is no YAML%s", name, where)
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
		return nil, input("config.file", "correct it: a line for each setting, name: value", "reading the settings: %s cannot be used", name)
	}
	return k, nil
}

var yamlLine = regexp.MustCompile(`line ([0-9]+)`)

func (s *Settings) validate() error {
	check := func(ok bool, name, rule string) error {
		if ok {
			return nil
		}
		return input("config.invalid", "correct --"+strings.ReplaceAll(name, "_", "-")+" or SYNCLINE_"+strings.ToUpper(name), "%s: %s", name, rule)
	}
	for _, err := range []error{
		check(len(s.Brokers) > 0 && s.Brokers[0] != "", "brokers", "at least one address is needed"),
		check(strings.HasPrefix(s.RegistryURL, "http://") || strings.HasPrefix(s.RegistryURL, "https://"), "registry_url", "must begin with http:// or https://"),
		check(!strings.Contains(s.RegistryURL, "@"), "registry_url", "must be a URL"),
		check(!strings.ContainsAny(strings.Join(s.Brokers, ","), "@/"), "brokers", "must be host:port, without a user or a protocol"),
		check(!strings.ContainsAny(s.ClickHouse, "@/"), "clickhouse", "must be host:port, without a user or a protocol: these have settings of their own"),
		check(s.Partitions >= 1 && s.Partitions <= 1024, "partitions", "must be 1 to 1024"),
		check(s.Slot >= 0, "slot", "must not be negative"),
		check(s.MaxRecordBytes >= 1024 && s.MaxRecordBytes <= 64<<20, "max_record_bytes", "must be 1 KiB to 64 MiB"),
		check(s.LetterLimit >= 0 && s.LetterLimit <= 10_000, "letter_limit", "must be 0 to 10000"),
		check(s.LetterPercent >= 0 && s.LetterPercent <= 100, "letter_percent", "must be 0 to 100"),
		check(s.CommitCeiling >= time.Millisecond && s.CommitCeiling <= 5*time.Second, "commit_ceiling", "must be 1ms to 5s"),
		check(s.FlushInterval >= 10*time.Millisecond && s.FlushInterval <= time.Minute, "flush_interval", "must be 10ms to 1m"),
		check(s.PurgeInterval >= 100*time.Millisecond && s.PurgeInterval <= time.Hour, "purge_interval", "must be 100ms to 1h"),
		check(s.UnknownSchemaWait >= 0, "unknown_schema_wait", "must not be negative"),
		check(s.SweepWait >= 0 && s.SweepWait <= 24*time.Hour, "sweep_wait", "must be 0 to 24h"),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// environ gives all settings to a child process, as environment: a command line
// would show the secrets to everybody on the machine.
func (s *Settings) environ() []string {
	v := reflect.ValueOf(*s)
	list := make([]string, 0, v.NumField())
	for i := range v.NumField() {
		value := fmt.Sprint(v.Field(i).Interface())
		switch x := v.Field(i).Interface().(type) {
		case Secret:
			value = string(x)
		case []string:
			value = strings.Join(x, ",")
		}
		list = append(list, envPrefix+strings.ToUpper(v.Type().Field(i).Tag.Get("koanf"))+"="+value)
	}
	return list
}
