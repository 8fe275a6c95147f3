package schemalog_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"syncline/pipelines/run/schemalog"
	"syncline/schemas/registry"
)

// station is a registry on a log in Kafka, with a client.
type station struct {
	log    *schemalog.Log
	http   *httptest.Server
	client *registry.Remote
}

func start(t *testing.T, seeds []string, cfg registry.Config) *station {
	t.Helper()
	l, err := schemalog.Open(t.Context(), schemalog.Config{Seeds: seeds})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log, cfg.RefreshEvery = l, -1
	server, err := registry.NewServer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &station{log: l, http: httptest.NewServer(server)}
	s.client, err = registry.NewClient(registry.ClientConfig{URL: s.http.URL, UnknownTTL: -1, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

func (s *station) stop() {
	s.http.Close()
	s.log.Close()
}

func (s *station) register(t *testing.T, subject, name string) int {
	t.Helper()
	id, err := s.client.Register(t.Context(), subject, enum(name))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func enum(name string) string { return `{"type":"enum","name":"` + name + `","symbols":["A"]}` }

// image is what a registry says about its subjects.
func (s *station) image(t *testing.T) map[string]registry.Version {
	t.Helper()
	out := map[string]registry.Version{}
	subjects, err := s.client.Subjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range subjects {
		versions, err := s.client.Versions(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range versions {
			v, err := s.client.Version(t.Context(), subject, n)
			if err != nil {
				t.Fatal(err)
			}
			out[fmt.Sprint(subject, " ", n)] = v
		}
	}
	return out
}

// TestRegistrySurvivesRestarts of itself and of the broker, with compaction
// in between.
func TestRegistrySurvivesRestarts(t *testing.T) {
	dir := t.TempDir()
	cluster := broker(t, kfake.DataDir(dir))
	s := start(t, cluster.ListenAddrs(), registry.Config{FirstID: 101})
	for _, level := range []registry.Level{registry.LevelFull, registry.LevelNone, registry.LevelForward} {
		if err := s.client.SetLevel(t.Context(), "a", level); err != nil {
			t.Fatal(err)
		}
	}
	if id := s.register(t, "a", "A"); id != 101 {
		t.Fatalf("first id %d, want 101", id)
	}
	s.register(t, "b", "B")
	s.register(t, "b2", "B")
	before := s.image(t)
	s.stop()

	s = start(t, cluster.ListenAddrs(), registry.Config{FirstID: 101})
	if diff := cmp.Diff(before, s.image(t)); diff != "" {
		t.Errorf("after a restart of the registry (-before +after):\n%s", diff)
	}
	s.register(t, "c", "C")
	before = s.image(t)
	s.stop()
	cluster.Compact()
	cluster.Close()

	s = start(t, broker(t, kfake.DataDir(dir)).ListenAddrs(), registry.Config{FirstID: 101})
	if diff := cmp.Diff(before, s.image(t)); diff != "" {
		t.Errorf("after a restart of the broker (-before +after):\n%s", diff)
	}
	if level, err := s.client.Level(t.Context(), "a"); err != nil || level != registry.LevelForward {
		t.Errorf("level %s, %v", level, err)
	}
	if id := s.register(t, "d", "D"); id != 104 {
		t.Errorf("next id %d, want 104", id)
	}
	if id := s.register(t, "a", "A"); id != 101 {
		t.Errorf("known schema has id %d, want 101", id)
	}
}

// TestTwoRegistriesOnOneTopic give one id to one schema.
func TestTwoRegistriesOnOneTopic(t *testing.T) {
	cluster := broker(t)
	both := []*station{start(t, cluster.ListenAddrs(), registry.Config{}), start(t, cluster.ListenAddrs(), registry.Config{})}
	var mu sync.Mutex
	names := map[int]string{}
	ids := map[string]int{}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 6 {
				name := fmt.Sprintf("E%d", (i+g)%6)
				id, err := both[g%2].client.Register(t.Context(), fmt.Sprintf("s%d-%s", g, name), enum(name))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if other, known := names[id]; known && other != name {
					t.Errorf("id %d stands for %s and %s", id, name, other)
				}
				if other, known := ids[name]; known && other != id {
					t.Errorf("%s has the ids %d and %d", name, id, other)
				}
				names[id], ids[name] = name, id
				mu.Unlock()
				// The other one knows it at once.
				if text, err := both[(g+1)%2].client.SchemaByID(t.Context(), id); err != nil || text != enum(name) {
					t.Errorf("the other registry says %q, %v", text, err)
				}
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(both[0].image(t), both[1].image(t)); diff != "" {
		t.Errorf("they disagree:\n%s", diff)
	}
}

// TestSilentBroker: the broker takes a registration and does not answer. The
// registry says so in time, and no id is given twice whatever became of it.
func TestSilentBroker(t *testing.T) {
	cluster := broker(t)
	s := start(t, cluster.ListenAddrs(), registry.Config{StoreTimeout: 500 * time.Millisecond})
	s.register(t, "a", "A")
	silent := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-silent })
		return nil, nil, false // then it is taken after all
	})
	if _, err := s.client.Register(t.Context(), "b", enum("B")); !errors.Is(err, registry.ErrUnreachable) {
		t.Fatalf("a registration without an answer: %v", err)
	}
	close(silent)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var id int
	for err := errors.New("not yet"); err != nil; {
		if ctx.Err() != nil {
			t.Fatalf("the registry does not recover: %v", err)
		}
		id, err = s.client.Register(ctx, "c", enum("C"))
	}
	b := s.register(t, "b", "B")
	if b == id || b == 1 || id == 1 {
		t.Errorf("ids 1, %d, %d: one is given twice", b, id)
	}
	again := start(t, cluster.ListenAddrs(), registry.Config{})
	if diff := cmp.Diff(s.image(t), again.image(t)); diff != "" {
		t.Errorf("a restart sees it otherwise:\n%s", diff)
	}
}
