package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Server is a `clickhouse server` process of ours.
type Server struct {
	// Addr is the host:port of its HTTP interface.
	Addr string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// startWait bounds the time a server may take until it answers.
const startWait = 60 * time.Second

// StartServer runs the binary as a server on loopback, with only the HTTP
// interface and only config.Logins as users, over config.Dir, and waits until it
// answers. port 0 takes a free one.
func StartServer(ctx context.Context, binary string, config Config, port int) (*Server, error) {
	config = config.withDefaults()
	dir, err := filepath.Abs(config.Dir)
	if err != nil {
		return nil, fmt.Errorf("resolving engine directory %q: %w", config.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making engine directory: %w", err)
	}
	if port == 0 {
		if port, err = freePort(); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(dir, "config.xml")
	if err := writeServerConfig(path, dir, config, port); err != nil {
		return nil, err
	}
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), done: make(chan struct{})}
	s.cmd = exec.Command(binary, "server", "--config-file="+path)
	s.cmd.Dir = dir
	s.cmd.Stdout, s.cmd.Stderr = os.Stderr, os.Stderr
	s.cmd.SysProcAttr = endWithParent()
	started := make(chan error)
	go func() {
		// The kernel ends the child when the thread that started it ends, so
		// that thread stays until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
		}
		close(s.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	if err := s.waitReady(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := ping(ctx, s.Addr); err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("the ClickHouse server ended while starting: %w; its log is in %s", s.err, filepath.Join(s.cmd.Dir, "server.log"))
		case <-ctx.Done():
			return fmt.Errorf("the ClickHouse server did not answer at %s within %s: %w", s.Addr, startWait, ctx.Err())
		case <-tick.C:
		}
	}
}

func ping(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/ping", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10))
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// Done is closed when the process has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop ends the process, by force if it takes longer than 20 seconds.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// writeServerConfig writes the least a server starts with, its users included.
func writeServerConfig(path, dir string, config Config, port int) error {
	logger := node("logger", leaf("level", "warning"), leaf("log", filepath.Join(dir, "server.log")), leaf("size", "10M"), leaf("count", "2"))
	elements := []element{
		logger, leaf("http_port", strconv.Itoa(port)), leaf("listen_host", "127.0.0.1"),
		leaf("path", dir+"/data/"), leaf("tmp_path", dir+"/tmp/"), leaf("user_files_path", dir+"/user_files/"),
		leaf("max_server_memory_usage", strconv.FormatInt(config.MaxMemory, 10)), leaf("mark_cache_size", strconv.Itoa(64<<20)),
		control(), node("user_directories", node("users_xml", leaf("path", path))),
	}
	defaults := []element{leaf("max_threads", strconv.Itoa(config.MaxThreads)), leaf("async_insert", "0")}
	return writeConfig(path, append(elements, access(defaults, serverUsers(config.Logins)...)...)...)
}
