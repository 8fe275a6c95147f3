package company_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/schemas/registry"
)

// The truth is told by the model and by definitions; here the four hops, in
// memory and in random order, have to come to the same from the records.

type schemas struct{ texts []string }

func (s *schemas) Register(_ context.Context, _, text string) (int, error) {
	if i := slices.Index(s.texts, text); i >= 0 {
		return i + 1, nil
	}
	s.texts = append(s.texts, text)
	return len(s.texts), nil
}

func (s *schemas) Latest(context.Context, string) (registry.Version, error) {
	return registry.Version{}, registry.ErrRejected
}

func (s *schemas) Later(context.Context, string, int) ([]string, error) {
	return nil, registry.ErrRejected
}

func (s *schemas) SchemaByID(_ context.Context, id int) (string, error) {
	if id < 1 || id > len(s.texts) {
		return "", registry.ErrUnknownID
	}
	return s.texts[id-1], nil
}

// unruly is a company in which hardly anything goes as it should.
func unruly() *company.Business {
	b := company.DefaultBusiness()
	b.LinkChanged, b.WrongLink, b.LinkRemoved, b.SecondDebtor = 0.2, 0.2, 0.2, 0.6
	b.MovedDebtor, b.LineMoved, b.DraftDeleted, b.CreditNote, b.Void, b.StrayLines = 0.3, 0.4, 0.3, 0.2, 0.2, 0.1
	b.CustomerDeleted, b.LostDeleted, b.Overtaken = 0.1, 0.8, 0.5
	return b
}

func TestPipelinesComeToTheTruth(t *testing.T) {
	for _, c := range []company.Config{
		{Seed: 24, Accounts: 90, Deals: 250, Business: unruly(), History: 0.3},
		{Seed: 21, Accounts: 250},
		{Seed: 22, Accounts: 40, Deals: 400, History: 0.4},
		{Seed: 23, Accounts: 150, Transport: &company.Transport{Redelivered: 0.4, RewindLength: 200, Stalled: 0.3, StallFor: time.Hour, StalledLong: 0.1, Poison: 0.02, Oversized: 0.001}},
	} {
		t.Run(fmt.Sprint("seed ", c.Seed), func(t *testing.T) {
			ctx := t.Context()
			reg := &schemas{}
			g, err := company.New(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Register(ctx, reg); err != nil {
				t.Fatal(err)
			}
			cat, err := catalog.Open("../../../pipelines/catalog/company.yaml")
			if err != nil {
				t.Fatal(err)
			}
			spine, err := pipelines.Build(ctx, pipelines.Config{Catalog: cat, Schemas: reg})
			if err != nil {
				t.Fatal(err)
			}
			driver := run.NewDriver(spine.Hops, workload.Partitions, c.Seed)
			driver.Instructions, driver.Codec = pipelines.DefaultNames().Instructions, pipelines.Instructions{}
			driver.Encode, driver.Aborts, driver.Crashes, driver.Poll = spine.Letters.Encode, 0.1, 0.01, 500
			for {
				r, ok := g.Next()
				if !ok {
					break
				}
				if !driver.Knows(r.Topic) {
					t.Fatalf("the catalog does not know %s", r.Topic)
				}
				if err := driver.Feed(r.Topic, r.Partition, r.Key, r.Value, r.Timestamp); err != nil {
					t.Fatal(err)
				}
			}
			if err := driver.Run(); err != nil {
				t.Fatal(err)
			}
			want, err := g.Truth()
			if err != nil {
				t.Fatal(err)
			}
			got := shown(t, spine, driver, reg)
			for _, v := range oracle.Views() {
				if v.Name != "kpi_daily" {
					compare(t, v, want[v.Name], got[v.Name])
				}
			}
		})
	}
}

var viewOf = map[string]string{
	"canonical.account": "accounts", "canonical.identity_link": "identity_links", "canonical.product": "products",
	"canonical.opportunity": "opportunities", "canonical.order": "orders", "canonical.subscription": "subscriptions",
	"canonical.invoice": "invoices", "canonical.payment": "payments", "canonical.deal": "deals",
}

var linesOf = map[string]string{
	"opportunities": "opportunity_lines", "orders": "order_lines", "subscriptions": "subscription_lines", "invoices": "invoice_lines",
}

// shown is what views over the canonical topics would show.
func shown(t *testing.T, spine *pipelines.Spine, driver *run.Driver, reg *schemas) oracle.Expected {
	t.Helper()
	out := oracle.Expected{}
	parsed := map[uint32]*avro.Schema{}
	latest := map[string]map[string]any{}
	for _, topic := range spine.Delivered {
		for _, partition := range driver.Log(topic) {
			for _, m := range partition {
				id := binary.BigEndian.Uint32(m.Value[1:])
				if parsed[id] == nil {
					s, err := avro.Parse(reg.texts[id-1])
					if err != nil {
						t.Fatal(err)
					}
					parsed[id] = s
				}
				var rec map[string]any
				if _, err := parsed[id].Decode(m.Value[5:], &rec); err != nil {
					t.Fatal(err)
				}
				latest[topic+" "+string(m.Key)] = rec
			}
		}
	}
	codes := map[string]string{}
	for at, rec := range latest {
		if strings.HasPrefix(at, "canonical.product ") && rec["code"] != nil {
			codes[rec["entity_id"].(string)] = rec["code"].(string)
		}
	}
	feeds := map[string]map[string]int64{}
	for at, rec := range latest {
		topic, _, _ := strings.Cut(at, " ")
		if topic == "syncline.feeds" {
			name := rec["topic"].(string)
			if feeds[name] == nil {
				feeds[name] = map[string]int64{}
			}
			for _, c := range []string{"received", "repeated", "stale", "letters", "waiting"} {
				feeds[name][c] += rec[c].(int64)
			}
			if name != "" {
				feeds[name]["letters"] -= rec["healed"].(int64)
			}
		}
		view, ok := viewOf[topic]
		if !ok || rec["deleted"] == true {
			continue
		}
		if view == "deals" {
			rec["deal_id"] = rec["entity_id"]
		}
		v, _ := oracle.ViewNamed(view)
		out[view] = append(out[view], rowOf(v, rec))
		if lv, ok := oracle.ViewNamed(linesOf[view]); ok {
			for _, l := range rec["lines"].([]any) {
				line := l.(map[string]any)
				line["system"], line["parent_native_id"] = rec["system"], rec["native_id"]
				if p, _ := line["product_id"].(string); p != "" {
					line["product_code"] = codes[p]
				}
				out[lv.Name] = append(out[lv.Name], rowOf(lv, line))
			}
		}
	}
	for topic, counts := range feeds {
		row := oracle.Row{"topic": topic}
		for c, n := range counts {
			row[c] = fmt.Sprint(n)
		}
		row["_waiting"] = row["waiting"]
		out["feed_health"] = append(out["feed_health"], row)
	}
	return out
}

func rowOf(v oracle.View, rec map[string]any) oracle.Row {
	row := oracle.Row{}
	for _, c := range v.Columns {
		switch x := rec[c.Name].(type) {
		case nil:
		case time.Time:
			if c.Kind == oracle.Date {
				row[c.Name] = x.UTC().Format("2006-01-02")
			} else {
				row[c.Name] = oracle.TimeText(x.UnixMicro())
			}
		case []any:
			parts := make([]string, len(x))
			for i, p := range x {
				parts[i] = fmt.Sprint(p)
			}
			if c.Kind == oracle.Set {
				slices.Sort(parts)
			}
			row[c.Name] = strings.Join(parts, ",")
		case interface{ FloatString(int) string }:
			text, err := oracle.DecimalText(x.FloatString(9))
			if err != nil {
				text = err.Error()
			}
			row[c.Name] = text
		default:
			row[c.Name] = fmt.Sprint(x)
		}
	}
	return row
}

func compare(t *testing.T, v oracle.View, want, got []oracle.Row) {
	t.Helper()
	index := func(rows []oracle.Row) map[string]oracle.Row {
		m := map[string]oracle.Row{}
		for _, r := range rows {
			m[v.KeyText(r)] = r
		}
		return m
	}
	w, g := index(want), index(got)
	if len(want) == 0 {
		t.Errorf("%s: the truth has no rows", v.Name)
	}
	problems := 0
	report := func(format string, args ...any) {
		if problems++; problems <= 5 {
			t.Errorf(v.Name+": "+format, args...)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(w)) {
		if g[k] == nil {
			report("%s is missing: %v", k, w[k])
			continue
		}
		columns := slices.Collect(func(yield func(string) bool) {
			for _, c := range v.Columns {
				if !yield(c.Name) {
					return
				}
			}
		})
		if v.Name == "feed_health" {
			columns = append(columns, "_waiting")
		}
		for _, c := range columns {
			if a, b := w[k][c], g[k][c]; a != b {
				report("%s, %s: the truth says %q, the pipelines %q", k, c, a, b)
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(g)) {
		if w[k] == nil {
			report("%s is there and should not be: %v", k, g[k])
		}
	}
	if problems > 5 {
		t.Errorf("%s: %d differences in all", v.Name, problems)
	}
}

func (*schemas) AskAnew() {}
