package clickhouse

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"syncline/schemas/change"
)

// Resume returns for each of the topic's partitions the offset after the last
// one that the table has settled, and the topic's id that came with it. A
// partition of which there is no row is not in the result: it begins where the
// topic begins.
//
// The table is the only place where the sink's progress is kept, so a lost
// answer, a crash between two batches or a table that was restored cannot leave
// rows out. A merge may drop a batch's last row in favour of a newer version,
// which came with a later range of the same partition, so the result is never
// too great, and too small only as far as batches are written again.
func (w *Writer) Resume(ctx context.Context, topic string, partitions []int32) (map[int32]change.Settled, error) {
	s, err := w.slot(topic)
	if err != nil {
		return nil, err
	}
	out := make(map[int32]change.Settled, len(partitions))
	if len(partitions) == 0 {
		return out, nil
	}
	list := make([]string, len(partitions))
	for i, p := range partitions {
		list[i] = strconv.Itoa(int(p))
	}
	// Rows from before the id was recorded have none; they do not count against it.
	rows, err := w.conn.Query(ctx, "SELECT _partition, max(_last) + 1, argMax(_topic_id, (_topic_id != '', _last)) FROM "+w.opts.Database+"."+s.name+
		" WHERE _topic = $1 AND _partition IN ("+strings.Join(list, ",")+") GROUP BY _partition", topic)
	if err != nil {
		return nil, w.fault("reading offsets of", s.name, "", err)
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		var (
			partition int32
			settled   change.Settled
			id        string
		)
		if err := rows.Scan(&partition, &settled.Next, &id); err != nil {
			return nil, w.fault("reading offsets of", s.name, "", err)
		}
		if settled.TopicID, err = topicID(id); err != nil {
			return nil, w.fault("reading offsets of", s.name, "", err)
		}
		out[partition] = settled
	}
	if err := rows.Err(); err != nil {
		return nil, w.fault("reading offsets of", s.name, "", err)
	}
	return out, nil
}

// topicText is a topic's id as Kafka's tools show it, "" for none.
func topicText(id [16]byte) string {
	if id == ([16]byte{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// topicID is the reverse of topicText.
func topicID(text string) (id [16]byte, err error) {
	if text == "" {
		return id, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("%q in column _topic_id is not the id of a topic: the sink alone may write its tables", text)
	}
	copy(id[:], raw)
	return id, nil
}
