package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// startTimeout bounds the time until a child says it is ready.
const startTimeout = 60 * time.Second

// process is one life of a child.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ready ready
	done  chan struct{}
	err   error // how it ended; read after done
}

// launch starts a child and waits until it is ready.
func launch(ctx context.Context, name string, args []string, logPath string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program's file: %w", err)
	}
	log, err := openLog(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(self, append([]string{"internal", name}, args...)...)
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{cmd: cmd, stdin: stdin, done: make(chan struct{})}
	said := make(chan ready, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var r ready
			// Native code may print too: only the line in question counts.
			if json.Unmarshal(lines.Bytes(), &r) == nil && r.Ready {
				select {
				case said <- r:
				default:
				}
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
		p.err = cmd.Wait()
		close(p.done)
	}()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case p.ready = <-said:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended while starting: %s", name, p.reason(logPath))
	case <-timer.C:
		err = fmt.Errorf("%s was not ready within %s; its log is %s", name, startTimeout, logPath)
	case <-ctx.Done():
		err = fmt.Errorf("starting %s: %w", name, ctx.Err())
	}
	p.kill()
	return nil, err
}

// reason says how the process ended, with the end of its log.
func (p *process) reason(logPath string) string {
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	last := strings.TrimSpace(lastLines(logPath, 1500))
	return fmt.Sprintf("%s; the end of %s:\n%s", how, logPath, last)
}

// stop asks the process to end and forces it after the grace.
func (p *process) stop(ctx context.Context) error {
	select {
	case <-p.done:
		return nil // it had ended before: how, its supervisor has said
	default:
	}
	_ = p.stdin.Close()
	timer := time.NewTimer(stopGrace + 2*time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
	case <-ctx.Done():
	}
	p.kill()
	return errors.New("did not end in time and was killed")
}

// kill ends the process at once and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
