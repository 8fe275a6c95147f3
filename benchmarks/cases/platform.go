package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/registry"
)

const (
	upWithin      = 90 * time.Second // until `up` gives its addresses
	downWithin    = 40 * time.Second // from SIGTERM to the end
	commandWithin = time.Minute
	// Topics let through what is over the pipelines' limit: that has to become
	// a letter, and not be stopped by the broker.
	maxRecordBytes = 10_000_000
)

// platform is a syncline of one case: `up` over a folder of its own.
type platform struct {
	binary, folder, data, catalog string
	env                           []string
	process                       *exec.Cmd
	ended                         chan struct{} // closed when the process has
	client                        *kgo.Client
	registry                      *registry.Remote
}

func newPlatform(binary, folder string, c *story) (*platform, error) {
	p := &platform{binary: binary, folder: folder, data: filepath.Join(folder, "data"), catalog: filepath.Join(folder, "catalog.yaml")}
	text, err := yaml.Marshal(c.catalog)
	if err != nil {
		return nil, err
	}
	p.env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "SYNCLINE_") || strings.HasPrefix(v, "CLICKHOUSE_")
	})
	for name, v := range c.Settings {
		p.env = append(p.env, "SYNCLINE_"+strings.ToUpper(name)+"="+plainText(v))
	}
	return p, os.WriteFile(p.catalog, text, 0o600)
}

func (p *platform) logPath() string { return filepath.Join(p.folder, "up.log") }

// said is all that `up` has printed, over all its lives, but for the folder's
// name, in which words of the case stand.
func (p *platform) said() string {
	text, _ := os.ReadFile(p.logPath())
	return strings.ReplaceAll(string(text), p.folder, "")
}

// start runs `up` and returns when it has given its addresses.
func (p *platform) start(ctx context.Context) error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	before, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	p.process = exec.Command(p.binary, "up", "--data-dir", p.data, "--catalog", p.catalog, "-o", "json", "--no-color") //nolint:gosec // the binary that is tested
	p.process.Env, p.process.Stdout, p.process.Stderr = p.env, log, log
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of ours reaches it in order, by stop
	if err := p.process.Start(); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	go func() {
		_ = p.process.Wait()
		close(p.ended)
	}()
	life := func() string {
		text, _ := os.ReadFile(p.logPath())
		return string(text[min(int(before), len(text)):])
	}
	var broker, url string
	err = poll(ctx, 100*time.Millisecond, upWithin, func() (bool, error) {
		if broker, url = addresses(life()); broker != "" {
			return true, nil
		}
		if p.hasEnded() {
			return false, fmt.Errorf("`up` has ended: %s", last(life(), 600))
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("starting the platform: %w: %s", err, last(life(), 600))
	}
	return p.connect(broker, url)
}

func (p *platform) connect(broker, url string) (err error) {
	p.disconnect()
	if p.registry, err = registry.NewClient(registry.ClientConfig{URL: url}); err != nil {
		return err
	}
	p.client, err = kgo.NewClient(kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(maxRecordBytes),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.UnknownTopicRetries(100), kgo.RecordDeliveryTimeout(20*time.Second))
	return err
}

func (p *platform) disconnect() {
	if p.registry != nil {
		p.registry.Close()
	}
	if p.client != nil {
		p.client.Close()
	}
	p.registry, p.client = nil, nil
}

// Lines of `up` for people.
var (
	brokerLine   = regexp.MustCompile(`(?mi)^\s*(?:kafka|broker)\w*:?\s+(\S+:\d+)`)
	registryLine = regexp.MustCompile(`(?mi)registry:?\s+(https?://\S+:\d+)`)
)

// addresses finds broker and registry in what `up` has said: in an answer as
// JSON, or else in the lines for people. Both are empty as long as one is.
func addresses(said string) (broker, url string) {
	for line := range strings.Lines(said) {
		var answer any
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &answer) == nil {
			if broker, url = addressesIn(answer); broker != "" && url != "" {
				return broker, url
			}
		}
	}
	b, r := brokerLine.FindStringSubmatch(said), registryLine.FindStringSubmatch(said)
	if b == nil || r == nil {
		return "", ""
	}
	return b[1], r[1]
}

func addressesIn(answer any) (broker, url string) {
	keep := func(b, u string) {
		if broker == "" {
			broker = b
		}
		if url == "" {
			url = u
		}
	}
	switch x := answer.(type) {
	case []any:
		for _, v := range x {
			keep(addressesIn(v))
		}
	case map[string]any:
		for k, v := range x {
			if list, ok := v.([]any); ok && len(list) > 0 {
				v = list[0]
			}
			text, isText := v.(string)
			k = strings.ToLower(k)
			switch {
			case !isText:
				keep(addressesIn(v))
			case strings.Contains(k, "broker") || strings.Contains(k, "kafka"):
				keep(text, "")
			case strings.Contains(k, "registry") && strings.Contains(text, "://"):
				keep("", text)
			case strings.Contains(k, "registry"):
				keep("", "http://"+text)
			}
		}
	}
	return broker, url
}

// stop ends `up` in order. One that does not end is killed, with all it has
// started, and that is an error.
func (p *platform) stop() error {
	p.disconnect()
	if p.process == nil || p.hasEnded() {
		return nil
	}
	if err := p.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(downWithin):
	}
	_ = syscall.Kill(-p.process.Process.Pid, syscall.SIGKILL)
	<-p.ended
	return fmt.Errorf("`up` had not ended %s after SIGTERM", downWithin)
}

func (p *platform) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// createTopics makes topics with their numbers of partitions.
func (p *platform) createTopics(ctx context.Context, partitions map[string]int32) error {
	limit, admin := fmt.Sprint(maxRecordBytes), kadm.NewClient(p.client)
	for topic, n := range partitions {
		if _, err := admin.CreateTopic(ctx, n, 1, map[string]*string{"max.message.bytes": &limit}, topic); err != nil {
			return fmt.Errorf("creating topic %s: %w", topic, err)
		}
	}
	return nil
}

// register gives a schema's id. A source changes its tables as it likes, so that
// a registry that refuses is told to take what comes.
func (p *platform) register(ctx context.Context, subject string, s *schema) (int, error) {
	id, err := p.registry.Register(ctx, subject, s.text)
	if !errors.Is(err, registry.ErrRejected) {
		return id, err
	}
	if err := p.registry.SetLevel(ctx, subject, registry.LevelNone); err != nil {
		return 0, err
	}
	return p.registry.Register(ctx, subject, s.text)
}

// produce writes one record and waits until the broker has it.
func (p *platform) produce(ctx context.Context, r *kgo.Record) error {
	return p.client.ProduceSync(ctx, r).FirstErr()
}

// call runs one command to its end.
func (p *platform) call(ctx context.Context, args ...string) (stdout, stderr string, exit int, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	for i := range args {
		args[i] = strings.NewReplacer("$CATALOG", p.catalog, "$DIR", p.data).Replace(args[i])
	}
	if !slices.Contains(args, "--data-dir") {
		args = append(args, "--data-dir", p.data)
	}
	if !slices.Contains(args, "--catalog") {
		args = append(args, "--catalog", p.catalog)
	}
	cmd := exec.CommandContext(ctx, p.binary, args...) //nolint:gosec // the binary that is tested
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, &out, &errs
	err = cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); exited && ctx.Err() == nil {
		err = nil
	}
	if err != nil {
		return "", "", 0, fmt.Errorf("syncline %s: %w", args[0], err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode(), nil
}

// query asks the views. Its rows hold text, numbers, booleans or lists.
func (p *platform) query(ctx context.Context, sql string) ([]map[string]any, error) {
	out, errs, exit, err := p.call(ctx, "query", sql, "-o", "json")
	if err != nil {
		return nil, err
	}
	var answer struct {
		OK     *bool           `json:"ok"`
		Result json.RawMessage `json:"result"`
		Error  struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil, fmt.Errorf("no answer: %s", last(strings.TrimSpace(out+errs), 400))
	}
	if answer.OK == nil && exit != 0 || answer.OK != nil && !*answer.OK {
		return nil, errors.New(answer.Error.Message)
	}
	var rows []map[string]any
	numbers := json.NewDecoder(bytes.NewReader(answer.Result))
	numbers.UseNumber()
	if len(answer.Result) == 0 {
		return nil, nil
	}
	return rows, numbers.Decode(&rows)
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// errLate says that something did not come true in time.
var errLate = errors.New("not in time")

// poll asks until the answer is yes or an error, or the time is over.
func poll(ctx context.Context, every, within time.Duration, ask func() (bool, error)) error {
	deadline, tick := time.NewTimer(within), time.NewTicker(every)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("%w: %s", errLate, within)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
