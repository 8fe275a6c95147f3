package pipelines_test

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"

	"syncline/schemas/canonical"
)

// rowSet is what there is to see, by entity: text by column.
type rowSet map[string][]textRow

type textRow map[string]string

func (r textRow) has(cells map[string]string) bool {
	for k, v := range cells {
		if r[k] != v {
			return false
		}
	}
	return true
}

func (s rowSet) show(entity string, columns []string) []string {
	var out []string
	for _, r := range s[entity] {
		cells := []string{entity}
		for _, c := range columns {
			v := r[c]
			if strings.ContainsAny(v, " ") {
				v = `"` + v + `"`
			}
			cells = append(cells, c+"="+v)
		}
		out = append(out, strings.Join(cells, " "))
	}
	slices.Sort(out)
	return out
}

// rows reads the canonical topics, feeds and letters, newest record of each key.
// Ids are told as system/entity/native id, times as seconds after 10:00, lists
// joined by commas; NULL is the word null.
func (w *world) rows(t *testing.T) rowSet {
	t.Helper()
	names := entityNames()
	schemas := map[int]*avro.Schema{}
	out := rowSet{}
	if w.stopped != "" {
		out["stopped"] = []textRow{{"why": w.stopped[:strings.LastIndex(w.stopped, ": ")]}}
		out["stopped"][0]["why"] = w.stopped
	}
	feeds := map[string]textRow{}
	for _, topic := range w.spine.Delivered {
		newest := map[string]map[string]any{}
		var keys []string
		for _, partition := range w.driver.Log(topic) {
			for _, m := range partition {
				k := string(m.Key)
				if newest[k] == nil {
					keys = append(keys, k)
				}
				newest[k] = decodeRecord(t, w, schemas, m.Value)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			rec := newest[k]
			if rec["deleted"] == true {
				continue
			}
			row := textRow{}
			flatten(row, "", rec, names)
			entity := strings.TrimPrefix(topic, "canonical.")
			switch topic {
			case "syncline.feeds":
				sumFeed(feeds, row)
				continue
			case "syncline.letters":
				entity = "letter"
			}
			out[entity] = append(out[entity], row)
		}
	}
	for _, f := range feeds {
		out["feed"] = append(out["feed"], f)
	}
	slices.SortFunc(out["feed"], func(a, b textRow) int { return strings.Compare(a["topic"], b["topic"]) })
	return out
}

func sumFeed(feeds map[string]textRow, row textRow) {
	topic := strings.Replace(strings.TrimPrefix(row["topic"], "cdc."), ".public.", ".", 1)
	sum := feeds[topic]
	if sum == nil {
		sum = textRow{"topic": topic}
		feeds[topic] = sum
	}
	for _, c := range []string{"received", "repeated", "stale", "waiting", "letters", "healed", "unavailable", "out_of_snapshot", "tombstones", "swept", "sweep_held", "unplaced"} {
		a, _ := strconv.Atoi(sum[c])
		b, _ := strconv.Atoi(row[c])
		sum[c] = strconv.Itoa(a + b)
	}
	if row["waiting_since"] != "null" {
		sum["waiting_since"] = row["waiting_since"]
	}
}

func flatten(row textRow, prefix string, rec map[string]any, names map[string]string) {
	for k, v := range rec {
		row[prefix+k] = cellOf(v, names)
	}
	if t, ok := rec["topic"].(string); ok && prefix == "" {
		row["at"] = fmt.Sprintf("%s/%v", strings.Replace(strings.TrimPrefix(t, "cdc."), ".public.", ".", 1), rec["offset"])
	}
}

func cellOf(v any, names map[string]string) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		if name, ok := names[x]; ok {
			return name
		}
		return x
	case time.Time:
		if x.Hour() == 0 && x.Minute() == 0 && x.Second() == 0 {
			return x.Format(time.DateOnly)
		}
		return strconv.FormatFloat(x.Sub(storyStart).Seconds(), 'f', -1, 64)
	case *big.Rat:
		return trimZeros(x.FloatString(9))
	case big.Rat:
		return trimZeros(x.FloatString(9))
	case []any:
		parts := make([]string, len(x))
		for i := range x {
			parts[i] = cellOf(x[i], names)
		}
		return strings.Join(parts, ",")
	case map[string]any:
		return cellOf(x["native_id"], names)
	default:
		return fmt.Sprint(x)
	}
}

func trimZeros(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// entityNames turns the ids of stories' small numbers back into words.
func entityNames() map[string]string {
	names := map[string]string{}
	for _, system := range []string{"crm", "subs", "erp"} {
		for _, entity := range []string{"party", "opportunity", "order", "subscription", "invoice", "entry", "product", "payment"} {
			for n := range 130 {
				id := strconv.Itoa(n)
				names[canonical.IDText(canonical.EntityID(system, entity, id))] = system + "/" + entity + "/" + id
			}
		}
	}
	return names
}
