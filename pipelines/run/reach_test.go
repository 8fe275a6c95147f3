package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestReach(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	secret := httptest.NewUnstartedServer(http.NotFoundHandler())
	secret.Config.ErrorLog = nil
	secret.StartTLS()
	t.Cleanup(secret.Close)
	login, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(login.Close)
	good, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(good.Close)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	for name, c := range map[string]struct {
		address string
		unfit   string // a word of it; "" passes
		ok      bool
	}{
		"a broker":              {good.ListenAddrs()[0], "", true},
		"nobody":                {nobody, "", false},
		"an HTTP server":        {plain.Listener.Addr().String(), "speaks HTTP", false},
		"an HTTPS server":       {secret.Listener.Addr().String(), "TLS", false},
		"a broker with a login": {login.ListenAddrs()[0], "login", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := Reach(t.Context(), Config{Brokers: []string{c.address}, Prefix: "syncline"})
			u, isUnfit := errors.AsType[*Unfit](err)
			switch {
			case c.ok && err != nil, !c.ok && err == nil, isUnfit != (c.unfit != ""):
				t.Fatalf("got %v", err)
			case isUnfit && (!strings.Contains(u.Error(), c.unfit) || u.Fix == "" || !strings.Contains(u.Error(), c.address)):
				t.Errorf("got %q, fix %q", u.Error(), u.Fix)
			case !c.ok && !isUnfit && !Passing(err):
				t.Errorf("may pass, and is not said to: %v", err)
			}
		})
	}
}

func TestPassing(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                           false,
		kerr.NotController:            true,
		kerr.CoordinatorNotAvailable:  true,
		kerr.TopicAuthorizationFailed: false,
		kerr.InvalidTopicException:    false,
		ErrFenced:                     false,
		context.DeadlineExceeded:      true,
		errors.New("topic \"a\" has 3 partitions, the topology says 4"): false,
	} {
		if err != nil {
			err = fmt.Errorf("listing topics: %w", err)
		}
		if got := Passing(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}
