package catalog_test

import (
	"testing"

	"syncline/pipelines/catalog"
)

func TestTrytonCompiles(t *testing.T) {
	c, err := catalog.Open("tryton.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := c.Sources()
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) != len(c.Tables) {
		t.Errorf("%d tables compile to %d sources", len(c.Tables), len(sources))
	}
}
