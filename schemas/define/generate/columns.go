package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"syncline/schemas/define"
)

// types are ClickHouse's for a type that is not null.
var types = map[define.Type]string{
	define.String: "String", define.Boolean: "Bool", define.Int: "Int32", define.Long: "Int64", define.Bytes: "String",
	define.Decimal: "Decimal(38, 9)", define.Date: "Date32", define.Micros: "DateTime64(6, 'UTC')", define.Millis: "DateTime64(3, 'UTC')",
	define.Strings: "Array(String)",
}

// converters fill a column's value from a field that the client does not take
// as it is.
var converters = map[define.Type]string{define.Decimal: "amount", define.Date: "day", define.Micros: "instant", define.Millis: "stamp", define.Bytes: "raw"}

func columnType(f define.Field) string {
	t := types[f.Type]
	switch {
	case f.Null:
		return "Nullable(" + t + ")"
	case f.Few:
		return "LowCardinality(" + t + ")"
	}
	return t
}

// column is the call that makes the column of a record's own field.
func column(f define.Field) string {
	return fill(f, fmt.Sprintf("func(r *R) %s { return r.%s }", qualified(f), define.Camel(f.Name)))
}

func fill(f define.Field, get string) string {
	call := fmt.Sprintf("(%q, %q, %s, %s", f.Name, columnType(f), strconv.Quote(f.Doc), get)
	switch c := converters[f.Type]; {
	case c != "":
		call = "converted" + call + ", " + c + ")"
	case f.Type == define.Strings:
		call = "texts" + call + ")"
	default:
		call = "plain" + call + ")"
	}
	if d := blank(f); d != "" {
		call += ".or(" + strconv.Quote(literal(d)) + ")"
	}
	return call
}

// headColumn is the call for a field of the envelope. Two of them are not what
// they are in the record: a sorting key is not null, and the flag of a deletion
// is a number.
func headColumn(f define.Field) string {
	name := "P(r).Head()." + define.Camel(f.Name)
	switch f.Name {
	case "account_id":
		f.Null = false
		return fill(f, "func(r *R) string { return orEmpty("+name+") }")
	case "deleted":
		return fmt.Sprintf("plain(%q, %q, %s, func(r *R) uint8 { return bit(%s) })", f.Name, "UInt8", strconv.Quote(f.Doc), name)
	}
	return fill(f, fmt.Sprintf("func(r *R) %s { return %s }", qualified(f), name))
}

// nestedColumn is the call for a field of a list's items.
func nestedColumn(list, f define.Field) string {
	call := fmt.Sprintf("(%q, %q, %s, func(r *R) []canonical.%s { return r.%s }, func(i *canonical.%s) %s { return i.%s }",
		list.Name+"."+f.Name, "Array("+columnType(f)+")", strconv.Quote(f.Doc), list.Item, define.Camel(list.Name), list.Item, qualified(f), define.Camel(f.Name))
	if c := converters[f.Type]; c != "" {
		return "convertedList" + call + ", " + c + ")"
	}
	return "list" + call + ")"
}

func qualified(f define.Field) string {
	t := goType(f)
	if f.Type == define.Decimal {
		t = "canonical." + t
	}
	return t
}

// literal is a JSON value in SQL.
func literal(text string) string {
	var s string
	if json.Unmarshal([]byte(text), &s) != nil {
		return text // a number, true, false: the same
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
