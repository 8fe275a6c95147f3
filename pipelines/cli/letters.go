package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"syncline/pipelines"
	"syncline/pipelines/run"
)

func (a *app) lettersCommand() *cobra.Command {
	c := &cobra.Command{Use: "letters", GroupID: "operate", Short: "Work off the records that could not be processed"}
	c.AddCommand(a.lettersListCommand(), a.lettersShowCommand(),
		a.lettersActCommand("redrive", "Have the records of letters read again", "%s: the records are read again from their places, and what can be taken by now is applied", `Reads the records of open letters again from their places, and applies what can be
taken by now. The rows' own positions decide, so nothing goes back in time; what
still cannot be taken stays open, with one attempt more.`, pipelines.Redrive),
		a.lettersActCommand("discard", "Settle letters that nobody needs", "%s: settled without their records, whose bytes the letters no longer keep", `Says of open letters that nobody needs their records. They stay listed as
discarded, with who said so and why, without the records' bytes.`, pipelines.Discard))
	return c
}

// choice says which letters are meant.
type choice struct {
	which string // a cause, or topic/partition/offset; "" for all
	topic string
	state string
}

var (
	causeRule = regexp.MustCompile(`^[0-9a-f]{12}$`)
	placeRule = regexp.MustCompile(`^([a-zA-Z0-9._-]+)/([0-9]{1,9})/([0-9]{1,18})$`)
)

// where is the condition of a choice, with its arguments.
func (c *choice) where() (sql string, args []any, err error) {
	var parts []string
	equal := func(column string, value string) {
		args = append(args, value)
		parts = append(parts, column+" = $"+strconv.Itoa(len(args)))
	}
	if c.state != "all" {
		equal("state", c.state)
	}
	if c.topic != "" {
		equal("topic", c.topic)
	}
	place := placeRule.FindStringSubmatch(c.which)
	switch {
	case c.which == "":
	case causeRule.MatchString(c.which):
		equal("fingerprint", c.which)
	case place != nil:
		equal("topic", place[1])
		parts = append(parts, "partition = "+place[2], "offset = "+place[3]) // digits
	default:
		return "", nil, input("usage.letter", "take it from `syncline letters list` or `letters show`", "%q is neither a cause (12 letters and digits) nor topic/partition/offset", c.which)
	}
	if len(parts) == 0 {
		return "1", nil, nil
	}
	return strings.Join(parts, " AND "), args, nil
}

func (c *choice) check() error {
	switch c.state {
	case "open", "healed", "redriven", "discarded", "all":
		return nil
	}
	return input("usage.state", "use open, healed, redriven, discarded or all", "letters have no state %q", c.state)
}

func (a *app) lettersListCommand() *cobra.Command {
	var c choice
	list := &cobra.Command{
		Use: "list", Short: "List the causes: how many letters, since when, an example", Args: cobra.NoArgs,
		Long: `Lists the causes of letters, most letters first: letters whose messages differ in
values only have one cause.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.tellLetters(cmd.Context(), "letters list", &c, `SELECT fingerprint AS cause, any(reason) AS reason, topic, state, count() AS letters, uniqExact(row_id) AS rows,
				formatDateTime(min(timestamp), '%%F %%T') AS oldest, formatDateTime(max(timestamp), '%%F %%T') AS newest, max(attempts) AS attempts,
				substringUTF8(anyIf(message, message != ''), 1, 200) AS example
				FROM letters WHERE %s GROUP BY fingerprint, topic, state ORDER BY letters DESC, oldest, topic LIMIT 200`, "cause")
		},
	}
	list.Flags().StringVar(&c.topic, "topic", "", "of this topic only")
	list.Flags().StringVar(&c.state, "state", "open", "open, healed, redriven, discarded or all")
	return list
}

// showLetters tells of a letter's document its deal and amount, where it is known.
const showLetters = `SELECT concat(l.topic, '/', toString(l.partition), '/', toString(l.offset)) AS place, l.timestamp AS timestamp, l.state AS state, l.attempts AS attempts,
	l.reason AS reason, l.message AS message, l.system AS system, concat(l.entity, if(l.part = '', '', concat(' ', l.part))) AS entity,
	l.row_id AS row_id, l.document_id AS document_id, d.amount AS amount, d.currency AS currency, d.deal_id AS deal_id, s.order_number AS order_number,
	s.stage AS deal_stage, s.amount AS deal_amount, l.who AS who, l.why AS why, l.hop AS hop, l.fingerprint AS cause, l.instruction AS instruction,
	hex(l.key) AS key_hex, length(l.value) AS value_bytes
FROM (SELECT *, ifNull(document_id, '') AS document FROM letters WHERE %s ORDER BY timestamp, topic, partition, offset LIMIT %d) AS l
LEFT ANY JOIN (
	SELECT 'opportunity' AS of, system, native_id, toNullable(deal_id) AS deal_id, toNullable(amount) AS amount, toNullable(currency) AS currency FROM opportunities
	UNION ALL SELECT 'order', system, native_id, toNullable(deal_id), toNullable(gross), toNullable(currency) FROM orders
	UNION ALL SELECT 'subscription', system, native_id, toNullable(deal_id), toNullable(monthly_net), toNullable(currency) FROM subscriptions
	UNION ALL SELECT 'invoice', system, native_id, toNullable(deal_id), toNullable(gross), toNullable(currency) FROM invoices
) AS d ON d.of = l.entity AND d.system = l.system AND d.native_id = l.document
LEFT ANY JOIN (SELECT toNullable(deal_id) AS deal_id, toNullable(order_number) AS order_number, toNullable(stage) AS stage, toNullable(amount) AS amount FROM deals) AS s ON s.deal_id = d.deal_id
ORDER BY timestamp, place`

func (a *app) lettersShowCommand() *cobra.Command {
	var c choice
	var most int
	show := &cobra.Command{
		Use: "show [CAUSE | TOPIC/PARTITION/OFFSET]", Short: "Show letters, with the deal and the money that they are about", Args: cobra.MaximumNArgs(1),
		Long: `Shows letters, the oldest first: place, reason in words, row, document, and of a
document that is known its amount and its deal. A single one has a line for each
field. The record itself is in the columns key and value of the view letters.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				c.which = args[0]
			}
			if most < 1 || most > 10_000 {
				return input("usage.limit", "give 1 to 10000", "--limit: %d is out of bounds", most)
			}
			return a.tellLetters(cmd.Context(), "letters show", &c, strings.Replace(showLetters, "%d", strconv.Itoa(most), 1), "letter")
		},
	}
	show.Flags().StringVar(&c.topic, "topic", "", "of this topic only")
	show.Flags().StringVar(&c.state, "state", "open", "open, healed, redriven, discarded or all")
	show.Flags().IntVar(&most, "limit", 20, "most letters to show")
	return show
}

// lettersOf is the condition of a choice, and where to ask for its letters.
func (a *app) lettersOf(c *choice) (where string, args []any, conn driver.Conn, err error) {
	if where, args, err = c.where(); err != nil {
		return "", nil, nil, err
	}
	if err = a.followPlatform(); err != nil {
		return "", nil, nil, err
	}
	conn, err = a.clickhouse()
	return where, args, conn, err
}

// tellLetters answers a query about letters; its %s is the choice.
func (a *app) tellLetters(ctx context.Context, command string, c *choice, sql, thing string) error {
	if err := c.check(); err != nil {
		return err
	}
	where, args, conn, err := a.lettersOf(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	t, _, err := query(ctx, conn, fmt.Sprintf(sql, where), 10_000, args...)
	if err != nil {
		return a.clickhouseFailure(err)
	}
	said := count(len(t.Rows), thing)
	if thing == "cause" && len(t.Rows) > 0 {
		said += ". syncline letters show CAUSE tells which rows and deals; mended, they are taken by: syncline letters redrive CAUSE"
	}
	return a.answer(command, said, t, forPeople(t))
}

// extras are the columns of showLetters that a table of several has no room for.
const extras = 5

// forPeople shows a single letter with a line for each field.
func forPeople(t Table) Table {
	if !slices.Contains(t.Columns, "place") {
		return t
	}
	if len(t.Rows) != 1 {
		rows := make([][]string, len(t.Rows))
		for n := range rows {
			rows[n] = t.Rows[n][:len(t.Columns)-extras]
		}
		return Table{Columns: t.Columns[:len(t.Columns)-extras], Rows: rows}
	}
	one := Table{Columns: []string{"field", "value"}}
	for n, c := range t.Columns {
		if t.Rows[0][n] != null {
			one.Rows = append(one.Rows, []string{c, t.Rows[0][n]})
		}
	}
	return one
}

// lettersActCommand is redrive or discard.
func (a *app) lettersActCommand(verb, short, says, long string, orders func([]pipelines.LetterPlace) ([]run.Instruction, error)) *cobra.Command {
	var c choice
	var agreed consent
	var all bool
	cmd := &cobra.Command{
		Use: verb + " [CAUSE | TOPIC/PARTITION/OFFSET]", Short: short, Args: cobra.MaximumNArgs(1),
		Long: long + `

Choose by cause, by place, by --topic, or --all. It shows first which letters are
meant; --apply HASH, or a yes on a terminal, does it.`,
		Example: "  syncline letters " + verb + " 0f3a9c2b41d7\n  syncline letters " + verb + " 0f3a9c2b41d7 --apply 5f2c0a9d41e7 --why 'mapping corrected'",
		RunE: func(cmd *cobra.Command, args []string) error {
			again := "syncline letters " + verb
			if len(args) == 1 {
				c.which = args[0]
				again += " " + c.which
			}
			switch {
			case c.topic != "":
				again += " --topic " + c.topic
			case c.which == "" && !all:
				return input("usage.letters", "name a cause or a place, or give --topic or --all", "it is not said which letters to %s", verb)
			case all:
				again += " --all"
			}
			if verb == "discard" && agreed.why == "" && (agreed.apply != "" || a.asks()) {
				return input("usage.why", "give --why", "discarding letters needs a reason, for the record")
			}
			c.state = "open"
			return a.actOnLetters(cmd.Context(), verb, again, &c, agreed, says, orders)
		},
	}
	cmd.Flags().StringVar(&c.topic, "topic", "", "of this topic only")
	cmd.Flags().BoolVar(&all, "all", false, "all open letters")
	agreed.add(cmd.Flags())
	return cmd
}

// mostActed bounds the letters of one act.
const mostActed = 50_000

func (a *app) actOnLetters(ctx context.Context, verb, again string, c *choice, agreed consent, says string, orders func([]pipelines.LetterPlace) ([]run.Instruction, error)) error {
	where, args, conn, err := a.lettersOf(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	places, reach, err := letterPlaces(ctx, conn, where, args)
	if err != nil {
		return a.clickhouseFailure(err)
	}
	if len(places) == 0 {
		return a.nothingToDo("letters "+verb, "no open letter of a source's record is meant by this (a row without room in its document heals with its next image, or by syncline rebuild all)", reach, agreed)
	}
	x := &act{command: "letters " + verb, again: again, what: fmt.Sprintf(says, count(len(places), "open letter")), reach: reach}
	if gone, err := a.gone(ctx, places); err != nil {
		return environment("kafka.unreachable", "is the broker up? see `syncline doctor`", "%w", err)
	} else if gone > 0 {
		x.what += fmt.Sprintf(". Of %s the topic does not hold the records any more: read again they stay open; only a new image of the row, or a new snapshot, heals them", count(gone, "letter"))
	}
	if x.orders, err = orders(places); err != nil {
		return err
	}
	return a.carryOut(ctx, x, agreed)
}

// gone is how many letters are of records that their topics do not hold any more.
func (a *app) gone(ctx context.Context, places []pipelines.LetterPlace) (n int, err error) {
	begins := map[string]map[int32]int64{}
	for _, p := range places {
		if begins[p.Topic] == nil {
			if begins[p.Topic], err = run.OffsetsAt(ctx, a.engine(), p.Topic, run.At{Start: true}); err != nil {
				return 0, err
			}
		}
		if p.Offset < begins[p.Topic][p.Partition] {
			n++
		}
	}
	return n, nil
}

// letterPlaces are the letters that a condition means, and how many they are by
// cause. Other hops' letters are of Syncline's own records: a rebuild mends them.
func letterPlaces(ctx context.Context, conn driver.Conn, where string, args []any) (places []pipelines.LetterPlace, reach Table, err error) {
	where += " AND hop = 'intake'"
	reach, _, err = query(ctx, conn, `SELECT topic, fingerprint AS cause, any(reason) AS reason, count() AS letters, uniqExact(row_id) AS rows, min(timestamp) AS oldest
		FROM letters WHERE `+where+` GROUP BY topic, fingerprint ORDER BY letters DESC, topic, cause`, 1000, args...)
	if err != nil {
		return nil, reach, err
	}
	rows, err := conn.Query(ctx, `SELECT topic, partition, offset, ifNull(row_id, '') FROM letters WHERE `+where+` ORDER BY topic, partition, offset LIMIT `+strconv.Itoa(mostActed), args...)
	if err != nil {
		return nil, reach, err
	}
	defer rows.Close()
	for rows.Next() {
		var p pipelines.LetterPlace
		if err := rows.Scan(&p.Topic, &p.Partition, &p.Offset, &p.Row); err != nil {
			return nil, reach, fmt.Errorf("reading a letter: %w", err)
		}
		places = append(places, p)
	}
	return places, reach, rows.Err()
}
