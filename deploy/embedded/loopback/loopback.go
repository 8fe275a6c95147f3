// Package loopback keeps web pages away from HTTP servers that listen on this
// machine only. A browser sends requests to 127.0.0.1 for any page that asks it
// to, and a name under the page's control can be made to point there.
package loopback

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Guard passes on the requests of programs and of pages that the server itself
// has served; all others are refused, whatever their method:
//
//   - 421 if Host is not this machine's loopback (a name that was pointed here);
//   - 403 if Origin is another one than Host, or Sec-Fetch-Site says that
//     another site's page sent the request.
func Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "host %.200q is not served here: use 127.0.0.1 or localhost", r.Host)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) {
			refuse(w, http.StatusForbidden, "a page of %.200q may not send requests here: only programs, and pages of %s itself, may", origin, r.Host)
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			refuse(w, http.StatusForbidden, "a page of another site (%.40s) may not send requests here", site)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	// The body of what is refused is not worth reading.
	w.Header().Set("Connection", "close")
	http.Error(w, fmt.Sprintf(format, args...), status)
}

// isLoopback also takes an empty host, which no browser sends.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == "http" && strings.EqualFold(u.Host, host)
}
