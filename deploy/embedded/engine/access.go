package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
)

// Login is a user of the engine's HTTP interface.
type Login struct {
	Name, Password string
	// ReadOnly says that the user may read and change no setting, by no way.
	ReadOnly bool
}

// grants is what anybody may do: tables and views of the engine itself. What is
// not named is refused by the engine, so that a new version's functions, engines and
// statements are closed until somebody opens them here: whatever reads or writes
// files or the network (file, url, s3, remote, every database's and lake's),
// dictionaries, functions, named collections, backups, users, shutting down.
func grants() []string {
	list := []string{
		"GRANT SELECT, INSERT, SHOW, KILL QUERY, OPTIMIZE, TRUNCATE, SYSTEM MERGES ON *.*",
		"GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE ARBITRARY TEMPORARY TABLE ON *.*",
		"GRANT DROP DATABASE, DROP TABLE, DROP VIEW ON *.*",
		"GRANT ALTER UPDATE, ALTER DELETE, ALTER COLUMN, ALTER INDEX, ALTER PROJECTION, ALTER CONSTRAINT, ALTER TTL, " +
			"ALTER SETTINGS, ALTER ORDER BY, ALTER MODIFY COMMENT, ALTER VIEW ON *.*",
	}
	for _, engine := range []string{"MergeTree", "ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "Memory"} {
		list = append(list, "GRANT TABLE ENGINE ON "+engine)
	}
	return list
}

// closedSettings lists the settings that name a file or an address, which
// grants do not cover, or hold SQL of their own. Nobody may change them.
func closedSettings() []string {
	return []string{
		"format_schema", "format_schema_source", "output_format_schema", "format_template_row", "format_template_resultset",
		"format_avro_schema_registry_url", "input_format_record_errors_file_path", "url_base",
		"additional_result_filter", "additional_table_filters", "parallel_replicas_custom_key",
		"ai_function_text_default_credentials", "ai_function_embedding_default_credentials",
		"allow_python_table_function", "s3_allow_server_credentials_in_user_queries", "jemalloc_enable_profiler",
	}
}

// element is a piece of the engine's configuration.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Elements []element `xml:",any"`
}

func leaf(name, text string) element { return element{XMLName: xml.Name{Local: name}, Text: text} }

func node(name string, elements ...element) element {
	return element{XMLName: xml.Name{Local: name}, Elements: elements}
}

// user may do what grants say, under a profile.
func user(name, profile string, password ...element) element {
	queries := make([]element, 0, len(grants()))
	for _, g := range grants() {
		queries = append(queries, leaf("query", g))
	}
	all := append(password, //nolint:gocritic // the arguments are this call's own
		node("networks", leaf("ip", "::/0")), // what it listens on is loopback
		leaf("profile", profile), leaf("quota", "default"), node("grants", queries...))
	return node(name, all...)
}

// access gives users, profiles and quotas. Every profile holds the closed
// settings closed; the users of readonly cannot change any.
func access(defaults []element, users ...element) []element {
	closed := make([]element, 0, len(closedSettings()))
	for _, name := range closedSettings() {
		closed = append(closed, node(name, leaf("readonly", "")))
	}
	profile := append(defaults, node("constraints", closed...)) //nolint:gocritic // the caller's last use
	return []element{
		node("profiles", node("default", profile...), node("readonly", append(profile, leaf("readonly", "1"))...)),
		node("users", users...), node("quotas", node("default")),
	}
}

// control turns on what makes the grants count for table engines too.
func control() element {
	return node("access_control_improvements", leaf("table_engines_require_grant", "true"))
}

// serverUsers gives the users of a server: it knows passwords by their hashes.
func serverUsers(logins []Login) []element {
	users := make([]element, 0, len(logins))
	for _, l := range logins {
		profile := "default"
		if l.ReadOnly {
			profile = "readonly"
		}
		hash := sha256.Sum256([]byte(l.Password))
		users = append(users, user(l.Name, profile, leaf("password_sha256_hex", hex.EncodeToString(hash[:]))))
	}
	return users
}

// writeLibraryConfig writes the library's configuration into dir and returns its
// path. The library has one user, who needs no password: it has no port, and what
// is in front of it knows the logins.
func writeLibraryConfig(dir string) (string, error) {
	path, users := filepath.Join(dir, "config.xml"), filepath.Join(dir, "users.xml")
	if err := writeConfig(users, access(nil, user("default", "default", leaf("password", "")))...); err != nil {
		return "", err
	}
	return path, writeConfig(path, control(), node("user_directories", node("users_xml", leaf("path", users))))
}

func writeConfig(path string, elements ...element) error {
	raw, err := xml.MarshalIndent(node("clickhouse", elements...), "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the engine's configuration: %w", err)
	}
	return nil
}
