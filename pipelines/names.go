package pipelines

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"syncline/pipelines/run"
	"syncline/processors/account"
)

// DefaultPrefix is the prefix whose canonical topics carry no prefix: the
// public names, canonical.order and so on.
const DefaultPrefix = "syncline"

// The names of the hops: parts of groups, ids and changelogs, stable for ever.
const (
	Intake       = "intake"
	HopDocument  = "document"
	HopParty     = "party"
	HopAccount   = "account"
	canonicalDot = "canonical."
)

// Names are the topics that one set of pipelines owns. Two sets with different
// prefixes share a cluster without touching each other: topics, changelogs,
// groups and transactional ids all begin with the prefix. A value may be copied,
// and a field replaced where a topic is to live elsewhere.
type Names struct {
	Prefix       string
	Generation   int    // of queues, changelogs, groups and ids; 0 and 1 are the first
	Rows         string // the queues between the hops
	Documents    string
	Accounts     string
	Letters      string
	Feeds        string
	Instructions string
	Processes    string // what running processes say of themselves
	Canonical    string // begins the topics of canonical entities
}

// generationRule finds the names of a generation.
var generationRule = regexp.MustCompile(`\.g[0-9]+$`)

var prefixRule = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,59}$`)

// Hops are the names of the hops, in the order in which changes pass them.
func Hops() []string { return []string{Intake, HopDocument, HopParty, HopAccount} }

// NamesOf are the names under a prefix. The error names the rule that the prefix
// breaks.
func NamesOf(prefix string) (Names, error) {
	if !prefixRule.MatchString(prefix) {
		return Names{}, fmt.Errorf("prefix %q: must be 1 to 60 of letters, digits, dot, underscore and hyphen, and begin with a letter or digit", prefix)
	}
	if prefix+"." == canonicalDot || strings.HasSuffix("."+prefix+".", "."+canonicalDot) {
		return Names{}, fmt.Errorf("prefix %q: must not end in canonical, which begins the names of canonical topics", prefix)
	}
	if generationRule.MatchString(prefix) {
		return Names{}, fmt.Errorf("prefix %q: must not end like .g2, as what a rebuild makes does", prefix)
	}
	n := Names{
		Prefix: prefix, Rows: prefix + ".rows", Documents: prefix + ".documents", Accounts: prefix + ".accounts",
		Letters: prefix + ".letters", Feeds: prefix + ".feeds", Instructions: prefix + ".instructions", Processes: prefix + ".processes", Canonical: prefix + "." + canonicalDot,
	}
	if prefix == DefaultPrefix {
		n.Canonical = canonicalDot
	}
	return n, nil
}

// DefaultNames are those under the default prefix.
func DefaultNames() Names {
	n, _ := NamesOf(DefaultPrefix) // a legal one
	return n
}

// Of are the names of a generation: what is published stays where it is, and what
// the hops keep for themselves has names of its own.
func (n Names) Of(generation int) Names {
	n.Generation = generation
	work := n.Work()
	n.Rows, n.Documents, n.Accounts = work+".rows", work+".documents", work+".accounts"
	return n
}

// Work begins the names of a generation's queues, changelogs, groups and ids.
func (n Names) Work() string {
	if n.Generation < 2 {
		return n.Prefix
	}
	return n.Prefix + ".g" + strconv.Itoa(n.Generation)
}

// Changelog is the topic with the state of a hop.
func (n Names) Changelog(hop string) string { return n.Work() + "." + hop + ".changelog" }

// Record is the topic of a published record, by the name of its schema in
// schemas/avsc.
func (n Names) Record(name string) string {
	switch name {
	case recordLetter:
		return n.Letters
	case recordFeed:
		return n.Feeds
	}
	return n.Canonical + name
}

// Delivered are the topics that sinks take.
func (n Names) Delivered() []string {
	names := []string{n.Letters, n.Feeds}
	for _, t := range account.Topics() {
		names = append(names, n.Record(t.String()))
	}
	return names
}

// Owned are the topics that the pipelines make at their first start, with so many
// partitions each; those of instructions and of processes have one.
func (n Names) Owned(partitions int32) []run.Topic {
	var all []run.Topic
	add := func(name string, partitions int32, cleanup run.Cleanup) {
		all = append(all, run.Topic{Name: name, Partitions: partitions, Cleanup: cleanup})
	}
	for _, queue := range []string{n.Rows, n.Documents, n.Accounts} {
		add(queue, partitions, run.Queue)
	}
	for _, hop := range Hops() {
		add(n.Changelog(hop), partitions, run.Compact)
	}
	for _, name := range n.Delivered() {
		add(name, partitions, run.Compact)
	}
	add(n.Instructions, 1, run.Compact)
	add(n.Processes, 1, run.Queue)
	return all
}

// Readers are the topics that each hop reads, by hop; sources are the catalog's.
func (n Names) Readers(sources []string) map[string][]string {
	return map[string][]string{Intake: sources, HopDocument: {n.Rows}, HopParty: {n.Documents}, HopAccount: {n.Accounts}}
}

// Owns tells whether the pipelines write a topic themselves, so that no source
// may have its name.
func (n Names) Owns(topic string) bool {
	switch topic {
	case n.Rows, n.Documents, n.Accounts, n.Letters, n.Feeds, n.Instructions, n.Processes:
		return true
	}
	if rest, ok := strings.CutPrefix(topic, n.Prefix+".g"); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		return true // of any generation
	}
	return strings.HasPrefix(topic, n.Canonical) || strings.HasPrefix(topic, n.Prefix+".") && strings.HasSuffix(topic, ".changelog")
}
