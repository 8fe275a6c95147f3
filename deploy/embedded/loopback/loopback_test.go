package loopback_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"syncline/deploy/embedded/loopback"
)

func TestGuard(t *testing.T) {
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, c := range []struct {
		name, host, origin, site string
		status                   int
		says                     string
	}{
		{name: "a program", host: "127.0.0.1:8123", status: 204},
		{name: "a program that says localhost", host: "localhost:8123", status: 204},
		{name: "IPv6", host: "[::1]:8123", status: 204},
		{name: "no host", host: "", status: 204},
		{name: "an address typed into a browser", host: "localhost:8123", site: "none", status: 204},
		{name: "a page of this server", host: "localhost:8123", origin: "http://localhost:8123", site: "same-origin", status: 204},
		{name: "a name that was pointed here", host: "evil.example:8123", status: 421, says: "evil.example"},
		{name: "a name with an address in it", host: "127.0.0.1.evil.example", status: 421, says: "evil.example"},
		{name: "an address that is not loopback", host: "192.0.2.1:8123", status: 421, says: "192.0.2.1"},
		{name: "a name that was pointed here, as its own origin", host: "evil.example:8123", origin: "http://evil.example:8123", site: "same-origin", status: 421},
		{name: "another site", host: "127.0.0.1:8123", origin: "https://evil.example", site: "cross-site", status: 403, says: "evil.example"},
		{name: "another site, an old browser", host: "127.0.0.1:8123", origin: "https://evil.example", status: 403},
		{name: "another site's picture", host: "127.0.0.1:8123", site: "cross-site", status: 403, says: "another site"},
		{name: "another port of this machine", host: "localhost:8123", origin: "http://localhost:3000", site: "same-site", status: 403},
		{name: "another port's picture", host: "localhost:8123", site: "same-site", status: 403},
		{name: "a sandboxed frame or a file", host: "127.0.0.1:8123", origin: "null", status: 403},
		{name: "the same name over TLS", host: "localhost:8123", origin: "https://localhost:8123", status: 403},
		{name: "half an origin", host: "localhost:8123", origin: "localhost:8123", status: 403},
		{name: "a word of a newer browser", host: "localhost:8123", site: "sideways", status: 403},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			r := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader("x"))
			r.Host = c.host
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			w := httptest.NewRecorder()
			loopback.Guard(served).ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%s, %s: %d %q, want %d with %q", c.name, method, w.Code, w.Body, c.status, c.says)
			}
		}
	}
}
