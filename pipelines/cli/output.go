package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Envelope is the JSON form of every answer.
type Envelope struct {
	OK      bool           `json:"ok"`
	Command string         `json:"command"`
	Summary string         `json:"summary,omitempty"`
	Result  any            `json:"result,omitempty"`
	Error   *EnvelopeError `json:"error,omitempty"`
}

// EnvelopeError is a Failure in JSON.
type EnvelopeError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// Table is tabular data: printed as columns, or as a list of objects in JSON.
type Table struct {
	Title   string
	Columns []string
	Rows    [][]string
}

// MarshalJSON gives a list of objects by column name.
func (t Table) MarshalJSON() ([]byte, error) {
	list := make([]map[string]string, 0, len(t.Rows))
	for _, r := range t.Rows {
		m := map[string]string{}
		for i, c := range t.Columns {
			if r[i] != null {
				m[c] = r[i]
			}
		}
		list = append(list, m)
	}
	return json.Marshal(list)
}

// null is how tables show NULL; JSON leaves it out.
const null = "NULL"

func (t Table) write(w io.Writer) {
	if len(t.Columns) == 0 {
		return // a plan without a reach to show
	}
	if t.Title != "" {
		fmt.Fprintf(w, "\n%s\n", t.Title)
	}
	width := make([]int, len(t.Columns))
	right := make([]bool, len(t.Columns))
	for i, c := range t.Columns {
		width[i], right[i] = utf8.RuneCountInString(c), len(t.Rows) > 0
	}
	for _, r := range t.Rows {
		for i, v := range r {
			width[i] = max(width[i], utf8.RuneCountInString(v))
			right[i] = right[i] && numeric(v)
		}
	}
	line := func(cells []string) {
		var b strings.Builder
		for i, v := range cells {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(v))
			if right[i] {
				b.WriteString(pad + v)
			} else {
				b.WriteString(v + pad)
			}
			b.WriteString("  ")
		}
		fmt.Fprintln(w, "  "+strings.TrimRight(b.String(), " "))
	}
	line(t.Columns)
	rule := make([]string, len(width))
	for i := range width {
		rule[i] = strings.Repeat("─", width[i])
	}
	line(rule)
	for _, r := range t.Rows {
		line(r)
	}
}

func numeric(s string) bool {
	if s == null || s == "" {
		return true
	}
	return strings.Trim(s, "0123456789.-") == ""
}

// printer writes answers to stdout and progress to stderr.
type printer struct {
	out, err io.Writer
	format   string
	quiet    bool
	terminal bool // stderr is one: progress may redraw its line

	hidden  []Secret          // what messages must not show
	secrets *strings.Replacer // takes it out; nil for nothing

	mu     sync.Mutex
	drawn  bool
	lately time.Time
}

func newPrinter(out, err io.Writer) *printer {
	p := &printer{out: out, err: err, format: "table"}
	if f, ok := err.(*os.File); ok {
		info, statErr := f.Stat()
		p.terminal = statErr == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// hide has messages show none of these texts, in whatever form an error may quote
// them. It is the last of several fences; very short ones would black out half of
// every message and are left to the others. Answers are data, and shown as they are.
func (p *printer) hide(secrets ...Secret) {
	const least = 4
	p.hidden = append(p.hidden, secrets...)
	var pairs []string
	for _, s := range p.hidden {
		if len(s) < least {
			continue
		}
		plain := string(s)
		encoded, _ := json.Marshal(plain) // a text always encodes
		forms := []string{
			plain, url.QueryEscape(plain), url.PathEscape(plain), url.UserPassword("", plain).String()[1:],
			inner(string(encoded)), inner(strconv.Quote(plain)), inner(strconv.QuoteToASCII(plain)), inner(strconv.Quote(inner(strconv.Quote(plain)))),
		}
		for _, form := range forms {
			pairs = append(pairs, form, s.String())
		}
	}
	p.secrets = strings.NewReplacer(pairs...)
}

func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// shown is a message without secrets.
func (p *printer) shown(s string) string {
	if p.secrets == nil {
		return s
	}
	return p.secrets.Replace(s)
}

// logs is where log lines go: to stderr, without secrets.
type logs struct{ p *printer }

func (l logs) Write(b []byte) (int, error) {
	if _, err := io.WriteString(l.p.err, l.p.shown(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// say prints a line of progress that stays.
func (p *printer) say(format string, args ...any) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintln(p.err, p.shown(fmt.Sprintf(format, args...)))
}

// progress shows a passing state: redrawn on a terminal, else a line every few
// seconds.
func (p *printer) progress(format string, args ...any) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		p.clear()
		fmt.Fprintf(p.err, format, args...)
		p.drawn = true
		return
	}
	if time.Since(p.lately) < 5*time.Second {
		return
	}
	p.lately = time.Now()
	fmt.Fprintf(p.err, format+"\n", args...)
}

func (p *printer) clear() {
	if p.drawn {
		fmt.Fprint(p.err, "\r\x1b[K")
		p.drawn = false
	}
}

// Write lets the platform's own progress lines through.
func (p *printer) Write(b []byte) (int, error) {
	p.say("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// answer prints a command's result: tables as they come, or one envelope.
func (p *printer) answer(command, summary string, result any, tables ...Table) error {
	if p.format == "json" {
		return json.NewEncoder(p.out).Encode(Envelope{OK: true, Command: command, Summary: summary, Result: result})
	}
	for _, t := range tables {
		t.write(p.out)
	}
	if summary != "" {
		fmt.Fprintln(p.out, summary)
	}
	return nil
}

// fail prints a failure; result is what there is to show all the same.
func (p *printer) fail(command string, f *Failure, result any) {
	p.mu.Lock()
	p.clear()
	p.mu.Unlock()
	if p.format == "json" {
		_ = json.NewEncoder(p.out).Encode(Envelope{Command: command, Result: result, Error: &EnvelopeError{Code: f.Code, Message: p.shown(f.Err.Error()), Fix: p.shown(f.Fix)}})
		return
	}
	fmt.Fprintln(p.err, "error: "+p.shown(f.Error()))
}
