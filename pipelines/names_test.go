package pipelines_test

import (
	"slices"
	"strings"
	"testing"

	"syncline/pipelines"
	"syncline/pipelines/catalog"
)

func owned(t *testing.T, prefix string) []string {
	t.Helper()
	c, err := catalog.Load("tryton")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pipelines.NamesOf(prefix)
	if err != nil {
		t.Fatal(err)
	}
	spine, err := pipelines.Build(t.Context(), pipelines.Config{Catalog: c, Schemas: &memorySchemas{hide: map[int]bool{}}, Names: names})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, h := range spine.Hops {
		all = append(all, h.Changelog.Name)
		for _, o := range h.Outputs {
			all = append(all, o.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestEveryOwnedTopicFollowsThePrefix(t *testing.T) {
	ours, theirs := owned(t, pipelines.DefaultPrefix), owned(t, "acme.eu")
	if len(ours) != len(theirs) || len(ours) != 18 {
		t.Fatalf("%d and %d topics, want 18: %v", len(ours), len(theirs), ours)
	}
	names, _ := pipelines.NamesOf("acme.eu")
	for _, topic := range theirs {
		if !strings.HasPrefix(topic, "acme.eu.") || slices.Contains(ours, topic) {
			t.Errorf("%s is not the prefix's own", topic)
		}
		if !names.Owns(topic) || pipelines.DefaultNames().Owns(topic) {
			t.Errorf("%s: it is not said whose it is", topic)
		}
	}
	for _, topic := range ours { // the names of released versions
		if !strings.HasPrefix(topic, "syncline.") && !strings.HasPrefix(topic, "canonical.") {
			t.Errorf("%s: the default prefix keeps its names", topic)
		}
	}
	for _, want := range []string{"syncline.rows", "syncline.documents", "syncline.accounts", "syncline.letters", "syncline.feeds", "syncline.intake.changelog", "syncline.account.changelog", "canonical.order", "canonical.identity_link"} {
		if !slices.Contains(ours, want) {
			t.Errorf("no topic %s", want)
		}
	}
}

// What doctor expects is what the hops declare.
func TestOwnedTopicsAreThoseOfTheHops(t *testing.T) {
	names := pipelines.DefaultNames()
	var got []string
	for _, topic := range names.Owned(4) {
		if topic.Name != names.Instructions && topic.Name != names.Processes {
			got = append(got, topic.Name)
		}
	}
	slices.Sort(got)
	if want := owned(t, pipelines.DefaultPrefix); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestPrefixesThatCannotBe(t *testing.T) {
	for _, prefix := range []string{"", ".", "..", "a b", "ä", "canonical", "acme.canonical", strings.Repeat("a", 61), "_x", "syncline.g2"} {
		if _, err := pipelines.NamesOf(prefix); err == nil || !strings.Contains(err.Error(), "prefix") {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	for _, prefix := range []string{"a", "syncline.gx", "acme-eu_1", "canonical-x", "notcanonical"} {
		if _, err := pipelines.NamesOf(prefix); err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

func TestASourceMustNotBeAnOwnedTopic(t *testing.T) {
	c, err := catalog.Load("tryton")
	if err != nil {
		t.Fatal(err)
	}
	names, _ := pipelines.NamesOf("acme")
	c.Tables[0].Topic = "acme.canonical.order"
	_, err = pipelines.Build(t.Context(), pipelines.Config{Catalog: c, Schemas: &memorySchemas{hide: map[int]bool{}}, Names: names})
	if err == nil || !strings.Contains(err.Error(), "acme.canonical.order") || !strings.Contains(err.Error(), "prefix") {
		t.Errorf("got %v", err)
	}
}
