package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	registryTimeout = 10 * time.Second
	maxSchema       = 16 << 20
)

// entityTopic says which view the topic of an entity tells.
type entityTopic struct {
	entity, view string
	topic        string
	lines        string            // view of its lines, "" for none
	rename       map[string]string // field → column
}

// TopicName says which topic has the records of an entity.
type TopicName func(entity string) string

func entityTopics(name TopicName) []entityTopic {
	all := []entityTopic{
		{entity: "account", view: "accounts", rename: map[string]string{"entity_id": "account_id", "account_id": ""}},
		{entity: "identity_link", view: "identity_links"},
		{entity: "product", view: "products"},
		{entity: "opportunity", view: "opportunities", lines: "opportunity_lines"},
		{entity: "order", view: "orders", lines: "order_lines"},
		{entity: "subscription", view: "subscriptions", lines: "subscription_lines"},
		{entity: "invoice", view: "invoices", lines: "invoice_lines"},
		{entity: "payment", view: "payments"},
		{entity: "deal", view: "deals", rename: map[string]string{"entity_id": "deal_id"}},
	}
	for i := range all {
		all[i].topic = name(all[i].entity)
	}
	return all
}

// TopicRecord is one record of a canonical topic. A nil Value is a tombstone.
type TopicRecord struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
}

// SchemaByID returns the text of the schema with that id.
type SchemaByID func(ctx context.Context, id uint32) (string, error)

// CompareTopics reads the canonical topics from their beginning, read
// committed, and compares them as CompareRecords does. Nothing may be writing
// meanwhile. The registry is asked for schemas over HTTP, with the
// user and password of its address if it has them.
func CompareTopics(ctx context.Context, brokers []string, registryURL string, name TopicName, e Expected) (Report, error) {
	if err := e.complete(); err != nil {
		return Report{}, err
	}
	base, err := url.Parse(registryURL)
	if err != nil {
		return Report{}, errors.New("reading the registry's address: it is no URL") // the parser quotes it, with a password
	}
	registry := registryClient{login: base.User, client: &http.Client{Timeout: registryTimeout}}
	base.User = nil
	registry.base = strings.TrimRight(base.String(), "/")
	reader := newTopicReader(registry.schema, name)
	if err := reader.read(ctx, brokers); err != nil {
		return Report{}, err
	}
	return reader.compare(e)
}

// CompareRecords compares the newest record of each key with what the views
// must show. Over the whole history the versions of a key must rise, a key must
// keep to one partition and equal its record's ids, and no record may be a
// Kafka tombstone. Money must be conserved per currency. Records of a partition
// must come in their order; other topics are passed over.
func CompareRecords(ctx context.Context, records iter.Seq[TopicRecord], schemas SchemaByID, name TopicName, e Expected) (Report, error) {
	if err := e.complete(); err != nil {
		return Report{}, err
	}
	reader := newTopicReader(schemas, name)
	for r := range records {
		if reader.topics[r.Topic] == nil {
			continue
		}
		if err := reader.take(ctx, r); err != nil {
			return Report{}, fmt.Errorf("reading %s/%d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	}
	return reader.compare(e)
}

func newTopicReader(schemas SchemaByID, name TopicName) *topicReader {
	t := &topicReader{entities: entityTopics(name), schemas: schemaReader{source: schemas, known: map[uint32]*avro.Schema{}}, topics: map[string]*topicState{}}
	for _, et := range t.entities {
		t.topics[et.topic] = &topicState{latest: map[string]map[string]any{}, partition: map[string]int32{}, version: map[string]int64{}}
	}
	return t
}

// compare compares what was read.
func (t *topicReader) compare(e Expected) (Report, error) {
	var products map[string]Row
	for _, et := range t.entities {
		if et.entity == "product" {
			products = productNames(t.topics[et.topic])
		}
	}
	var out Report
	for _, et := range t.entities {
		state := t.topics[et.topic]
		out.Differences = append(out.Differences, state.wrong...)
		if state.absent {
			out.Tallies = append(out.Tallies, Tally{View: et.topic, Expected: len(e[et.view])})
			out.Differences = append(out.Differences, Difference{View: et.topic, Kind: Missing, Want: "the topic"})
			continue
		}
		rows, lineRows, has, err := et.rows(state, products)
		if err != nil {
			return Report{}, fmt.Errorf("reading %s: %w", et.topic, err)
		}
		view, _ := ViewNamed(et.view)
		tally, diffs := compareRows(view, et.topic, e[et.view], rows, has)
		out.Tallies, out.Differences = append(out.Tallies, tally), append(out.Differences, diffs...)
		if et.lines != "" {
			view, _ := ViewNamed(et.lines)
			all := map[string]bool{}
			for _, c := range view.Columns {
				all[c.Name] = true
			}
			tally, diffs := compareRows(view, et.topic+" lines", e[et.lines], lineRows, all)
			out.Tallies, out.Differences = append(out.Tallies, tally), append(out.Differences, diffs...)
		}
	}
	out.tally()
	return out, nil
}

// topicState is a topic read to its end.
type topicState struct {
	latest    map[string]map[string]any // by key
	partition map[string]int32
	version   map[string]int64
	absent    bool
	wrong     []Difference
}

type topicReader struct {
	schemas  schemaReader
	entities []entityTopic
	topics   map[string]*topicState
}

// read consumes the topics up to their last stable offsets of now.
func (t *topicReader) read(ctx context.Context, brokers []string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The last offset of a topic written in transactions is a marker:
		// without them the end would never be seen.
		kgo.KeepControlRecords(),
	)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", strings.Join(brokers, ","), err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	existing, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("listing topics: %w", err)
	}
	var there []string
	for n, state := range t.topics {
		if state.absent = !existing.Has(n); !state.absent {
			there = append(there, n)
		}
	}
	if len(there) == 0 {
		return nil
	}
	starts, err := admin.ListStartOffsets(ctx, there...)
	if err != nil {
		return fmt.Errorf("looking for the topics' beginnings: %w", err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, there...)
	if err != nil {
		return fmt.Errorf("looking for the topics' ends: %w", err)
	}
	type partition struct {
		topic string
		n     int32
	}
	left := map[partition]int64{}
	from := map[string]map[int32]kgo.Offset{}
	var bad error
	ends.Each(func(end kadm.ListedOffset) {
		start, ok := starts.Lookup(end.Topic, end.Partition)
		if end.Err != nil || !ok || start.Err != nil {
			bad = fmt.Errorf("looking for beginning and end of %s/%d: %w", end.Topic, end.Partition, cmpErr(end.Err, start.Err))
			return
		}
		if end.Offset > start.Offset {
			left[partition{end.Topic, end.Partition}] = end.Offset
			if from[end.Topic] == nil {
				from[end.Topic] = map[int32]kgo.Offset{}
			}
			from[end.Topic][end.Partition] = kgo.NewOffset().At(start.Offset)
		}
	})
	if bad != nil {
		return bad
	}
	client.AddConsumePartitions(from)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reading canonical topics, %d partitions not at their end: %w", len(left), err)
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("reading %s/%d: %w", e.Topic, e.Partition, e.Err)
		}
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			at := partition{r.Topic, r.Partition}
			end, open := left[at]
			if !open || failed != nil {
				return
			}
			if r.Offset < end && !r.Attrs.IsControl() {
				if err := t.take(ctx, TopicRecord{r.Topic, r.Partition, r.Offset, r.Key, r.Value}); err != nil {
					failed = fmt.Errorf("reading %s/%d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
				}
			}
			if r.Offset+1 >= end {
				delete(left, at)
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("the broker does not tell")
}

// take folds one record into its topic's state.
func (t *topicReader) take(ctx context.Context, r TopicRecord) error {
	s := t.topics[r.Topic]
	key := string(r.Key)
	wrong := func(kind DifferenceKind, column, want, got string) {
		s.wrong = append(s.wrong, Difference{View: r.Topic, Key: key, Column: column, Kind: kind, Want: want, Got: got})
	}
	if r.Value == nil {
		wrong(Unexpected, "", "", "a tombstone: deletions are records")
		delete(s.latest, key)
		return nil
	}
	rec, err := t.schemas.decode(ctx, r.Value)
	if err != nil {
		return err
	}
	if p, seen := s.partition[key]; seen && p != r.Partition {
		wrong(Cell, "partition", strconv.Itoa(int(p)), strconv.Itoa(int(r.Partition)))
	}
	s.partition[key] = r.Partition
	version, ok := rec["version"].(int64)
	if before, seen := s.version[key]; !ok || seen && version <= before {
		wrong(Version, "version at offset "+strconv.FormatInt(r.Offset, 10), "more than "+strconv.FormatInt(before, 10), fmt.Sprint(rec["version"]))
	}
	s.version[key] = version
	entity, _ := rec["entity_id"].(string)
	account, _ := rec["account_id"].(string)
	if ids := entity + "/" + account; ids != key {
		wrong(Cell, "key", ids, key)
	}
	s.latest[key] = rec
	return nil
}

// rows turns the living records into rows of the view and of its lines, and
// tells which columns the records have.
func (t entityTopic) rows(s *topicState, products map[string]Row) (rows, lineRows []Row, has map[string]bool, err error) {
	view, _ := ViewNamed(t.view)
	has = map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(s.latest)) {
		rec := s.latest[key]
		deleted, ok := rec["deleted"].(bool)
		if !ok {
			return nil, nil, nil, fmt.Errorf("record %s has no boolean field deleted", key)
		}
		if deleted {
			continue
		}
		row := Row{}
		for field, value := range rec {
			column := field
			if to, renamed := t.rename[field]; renamed {
				column = to
			}
			c, ok := view.Column(column)
			if !ok {
				continue
			}
			has[column] = true
			text, there, err := valueText(c.Kind, value)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("record %s, field %s: %w", key, field, err)
			}
			if there {
				row[column] = text
			}
		}
		if t.view == "products" {
			entity, _ := rec["entity_id"].(string)
			delete(row, "code")
			delete(row, "name")
			maps.Copy(row, products[entity])
		}
		rows = append(rows, row)
		if t.lines == "" {
			continue
		}
		list, _ := rec["lines"].([]any)
		for _, item := range list {
			line, ok := item.(map[string]any)
			if !ok {
				return nil, nil, nil, fmt.Errorf("record %s has a line of type %T", key, item)
			}
			r := Row{"system": row["system"], "parent_native_id": row["native_id"]}
			for _, c := range []Column{{Name: "native_id"}, {Name: "quantity", Kind: Decimal}, {Name: "unit_price", Kind: Decimal}} {
				text, there, err := valueText(c.Kind, line[c.Name])
				if err != nil {
					return nil, nil, nil, fmt.Errorf("record %s, lines, field %s: %w", key, c.Name, err)
				}
				if there {
					r[c.Name] = text
				}
			}
			if id, ok := line["product_id"].(string); ok {
				if code, known := products[id]["code"]; known {
					r["product_code"] = code
				}
			}
			lineRows = append(lineRows, r)
		}
	}
	if len(rows) == 0 { // nothing to learn the columns from
		for _, c := range view.Columns {
			has[c.Name] = true
		}
	}
	return rows, lineRows, has, nil
}

// productNames returns code and name of each living product record by entity
// id: its own, else those of the record it is of, in at most three steps.
func productNames(s *topicState) map[string]Row {
	living := map[string]map[string]any{}
	for _, rec := range s.latest {
		if deleted, _ := rec["deleted"].(bool); !deleted {
			id, _ := rec["entity_id"].(string)
			living[id] = rec
		}
	}
	out := map[string]Row{}
	for id := range living {
		r := Row{}
		for _, field := range []string{"code", "name"} {
			at := id
			for range 3 {
				if text, ok := living[at][field].(string); ok && text != "" {
					r[field] = text
					break
				}
				at, _ = living[at]["of_id"].(string)
			}
		}
		out[id] = r
	}
	return out
}

// valueText is the text of a decoded Avro value for a column of this kind.
func valueText(kind Kind, value any) (string, bool, error) {
	switch v := value.(type) {
	case nil:
		return "", false, nil
	case string:
		return v, true, nil
	case bool:
		return strconv.FormatBool(v), true, nil
	case int32:
		return strconv.FormatInt(int64(v), 10), true, nil
	case int64:
		return strconv.FormatInt(v, 10), true, nil
	case json.Number:
		text, err := DecimalText(v.String())
		return text, true, err
	case *big.Rat:
		text, err := DecimalText(v.FloatString(9))
		return text, true, err
	case time.Time:
		if kind == Date {
			return v.UTC().Format(dateForm), true, nil
		}
		return v.UTC().Format(timeForm), true, nil
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			text, _, err := valueText(Text, p)
			if err != nil {
				return "", false, err
			}
			parts[i] = text
		}
		return strings.Join(parts, ","), true, nil
	default:
		return "", false, fmt.Errorf("a value of type %T has no text", value)
	}
}

// schemaReader decodes framed Avro by the writer's schema.
type schemaReader struct {
	source SchemaByID
	known  map[uint32]*avro.Schema
}

func (s *schemaReader) decode(ctx context.Context, data []byte) (map[string]any, error) {
	id, body, err := unframe(data)
	if err != nil {
		return nil, err
	}
	schema := s.known[id]
	if schema == nil {
		text, err := s.source(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("looking up schema %d: %w", id, err)
		}
		if schema, err = avro.Parse(text); err != nil {
			return nil, fmt.Errorf("parsing schema %d: %w", id, err)
		}
		s.known[id] = schema
	}
	var out map[string]any
	rest, err := schema.Decode(body, &out)
	if err != nil {
		return nil, fmt.Errorf("decoding by schema %d: %w", id, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("decoding by schema %d: %d bytes too many", id, len(rest))
	}
	return out, nil
}

// registryClient asks a schema registry over plain HTTP.
type registryClient struct {
	base   string // without user and password
	login  *url.Userinfo
	client *http.Client
}

func (s registryClient) schema(ctx context.Context, id uint32) (string, error) {
	to, err := url.JoinPath(s.base, "schemas", "ids", strconv.FormatUint(uint64(id), 10))
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return "", err
	}
	if s.login != nil {
		password, _ := s.login.Password()
		req.SetBasicAuth(s.login.Username(), password)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxSchema))
	if err != nil {
		return "", fmt.Errorf("reading answer of %s: %w", to, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %.200s", to, resp.Status, body)
	}
	var answer struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("reading answer of %s: %w", to, err)
	}
	return answer.Schema, nil
}
