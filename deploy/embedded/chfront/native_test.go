package chfront_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The values of a result are the same at every revision: an answer at a
// client's revision is longer by the block info and a flag per column, and a
// walk that loses its way in one column ends in an error or another length.
func TestEveryTypePassesInNative(t *testing.T) {
	for _, expression := range []string{
		"number::Int128", "number::UInt256", "number::Float32", "number::BFloat16", "toDecimal32(number, 2)", "toDecimal64(number, 2)", "toDecimal256(number, 2)",
		"toDateTime(number, 'Asia/Tokyo')", "toIPv4('1.2.3.4')", "toIPv6('::1')", "NULL", "toIntervalDay(number)", "toFixedString('ab', 2)",
		"CAST('a' AS Enum16('a' = 1, 'b, c)' = 2))", "[]", "[[NULL, toString(number)], []]", "tuple()", "tuple(number, [tuple('x')])",
		"CAST((number, 'x'), 'Tuple(n UInt64, `odd name, (` String)')", "map(number, [map('k', toLowCardinality('v'))])", "(1., 2.)::Point", "[[(1., 2.)]]::Polygon",
		"CAST(if(number % 2, NULL, toString(number)) AS LowCardinality(Nullable(String)))", "[toLowCardinality(toString(number)), 'a']",
		"CAST([(number, 'x')], 'Nested(n UInt64, s LowCardinality(String))')", "toLowCardinality(number % 3)", "CAST(number, 'SimpleAggregateFunction(sum, UInt64)')",
		"tuple(toLowCardinality('a'), [toLowCardinality('b')])", "generateUUIDv4()", "CAST(number % 2, 'Nullable(Bool)')", "map()::Map(String, LowCardinality(String))",
		"repeat('x', number * 3)", "toDate32('1950-01-01')", "arrayWithConstant(number % 5, (number, toString(number)))",
	} {
		t.Run(expression, func(t *testing.T) {
			const query = "SELECT %s AS v, 'sentinel' AS s FROM numbers(1000) SETTINGS max_block_size = 300, allow_suspicious_low_cardinality_types = 1"
			ask := func(revision string) string {
				res, body := get(t, at(fmt.Sprintf(query, expression), "default_format", "Native", "client_protocol_version", revision))
				if res.StatusCode != http.StatusOK || strings.Contains(body, "__exception__") {
					t.Fatalf("revision %s: %d %.300q", revision, res.StatusCode, body)
				}
				return body
			}
			const blocks, columns, info = 4, 2, 8
			bare, framed := ask("0"), ask("54460")
			if len(framed) != len(bare)+blocks*(info+columns) {
				t.Errorf("%d bytes at revision 0 and %d at 54460", len(bare), len(framed))
			}
			if !strings.HasSuffix(framed, "sentinel") {
				t.Errorf("the last column is not whole: %.40q", framed[len(framed)-40:])
			}
		})
	}
}
