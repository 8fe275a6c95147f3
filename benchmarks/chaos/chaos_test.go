package chaos

import (
	"bufio"
	"net"
	"reflect"
	"testing"
	"time"
)

func TestScheduleIsTheSeeds(t *testing.T) {
	weights := Weights{KillMember: 5, FreezeMember: 1, Storm: 1, SpoilEngine: 2}
	a := Schedule(7, 200, weights)
	if !reflect.DeepEqual(a, Schedule(7, 200, weights)) {
		t.Error("the same seed gives another schedule")
	}
	if reflect.DeepEqual(a, Schedule(8, 200, weights)) {
		t.Error("another seed gives the same schedule")
	}
	seen := map[Kind]int{}
	for _, f := range a {
		seen[f.Kind]++
		if (f.Kind == SpoilEngine) != (f.Mode != Plain) {
			t.Errorf("%s: mode %s", f.Kind, f.Mode)
		}
	}
	for k := range weights {
		if seen[k] == 0 {
			t.Errorf("%s never comes", k)
		}
	}
	if len(seen) != len(weights) {
		t.Errorf("kinds without a weight: %v", seen)
	}
	if got := Schedule(1, 3, nil); got != nil {
		t.Errorf("without weights: %v", got)
	}
}

// echo answers each line with itself and counts what it was asked.
func echo(t *testing.T) (addr string, asked chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heard := make(chan string, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					heard <- lines.Text()
					_, _ = c.Write([]byte(lines.Text() + "\n"))
				}
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String(), heard
}

func TestProxy(t *testing.T) {
	addr, asked := echo(t)
	p, err := NewProxy(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ask := func(word string) (string, time.Duration) {
		t.Helper()
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			return "", 0
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		begun := time.Now()
		_, _ = c.Write([]byte(word + "\n"))
		lines := bufio.NewScanner(c)
		lines.Scan()
		return lines.Text(), time.Since(begun)
	}
	if got, _ := ask("a"); got != "a" || <-asked != "a" {
		t.Errorf("plain: %q", got)
	}
	p.Set(Slow)
	if got, took := ask("b"); got != "b" || <-asked != "b" || took < slowness {
		t.Errorf("slow: %q after %s", got, took)
	}
	p.Set(Lost)
	if got, _ := ask("c"); got != "" || <-asked != "c" {
		t.Errorf("lost: %q: the question must arrive and the answer not", got)
	}
	p.Set(Cut)
	if got, _ := ask("d"); got != "" || len(asked) > 0 {
		t.Errorf("cut: %q", got)
	}
	p.Set(Plain)
	if got, _ := ask("e"); got != "e" || <-asked != "e" {
		t.Errorf("plain again: %q", got)
	}
}
