package clickhouse

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Each insert carries what makes it exactly once, whatever the server's defaults
// are: a name of its own, the same each time it is repeated, and no collecting
// of inserts.
func TestInsertsCarryWhatMakesThemOnce(t *testing.T) {
	target, err := url.Parse("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var inserts []url.Values
	forward := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); strings.HasPrefix(q.Get("query"), "INSERT") {
			mu.Lock()
			inserts = append(inserts, q)
			mu.Unlock()
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	w := open(t, func(o *Options) { o.Addresses = []string{strings.TrimPrefix(server.URL, "http://")} })
	mu.Lock()
	inserts = nil // of the migrations
	mu.Unlock()
	first, next := part(t, 0, 0, order("a", "x", 1)), part(t, 0, 1, order("b", "x", 1))
	write(t, w, "canonical.order", first)
	write(t, w, "canonical.order", first)
	write(t, w, "canonical.order", next)
	mu.Lock()
	defer mu.Unlock()
	var tokens []string
	for _, q := range inserts {
		tokens = append(tokens, q.Get("insert_deduplication_token"))
		for name, want := range map[string]string{"async_insert": "0", "insert_deduplicate": "1", "deduplicate_blocks_in_dependent_materialized_views": "1", "max_insert_threads": "1"} {
			if got := q.Get(name); got != want {
				t.Errorf("insert with %s %q, want %s", name, got, want)
			}
		}
	}
	if len(tokens) != 3 || slices.Contains(tokens, "") || tokens[0] != tokens[1] || tokens[1] == tokens[2] {
		t.Errorf("tokens %q: want one for the first two inserts and another for the third", tokens)
	}
}
