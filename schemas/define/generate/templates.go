package main

const shapesText = `package canonical

import "syncline/schemas/change"

// The entities a source row can be mapped onto.
const (
{{- range .Shapes}}
	{{.Title}} = {{printf "%q" .Name}} // {{.Doc}}
{{- end}}
)

// The names of the parts.
const (
{{- range .Parts}}
	Part{{camel .}} = {{printf "%q" .}}
{{- end}}
)

// The numbers of the fields: one block per header and part. They are stored.
const (
{{- range .Numbers}}
	{{.Names}} = {{.Values}}
{{end -}}
)

// Entities returns every canonical entity. The result is fresh: callers may
// keep it.
func Entities() []Entity {
	return []Entity{
	{{- range $s := .Shapes}}
		{Name: {{.Title}}, {{with phases .}}Phases: {{template "words" .}}, {{end}}Header: Shape{Fields: []FieldSpec{
			{{- range header .}}
			{{template "spec" .}}
			{{- end}}
		}}{{with parts .}}, Parts: []Shape{
			{{- range .}}
			{Part: Part{{camel .Part}}, Fields: []FieldSpec{
				{{- range .Of}}
				{{template "spec" .}}
				{{- end}}
			}},
			{{- end}}
		}{{end}}},
	{{- end}}
	}
}
{{define "words"}}[]string{ {{range .}}{{printf "%q" .}}, {{end}} }{{end -}}
{{define "spec"}}{Name: {{printf "%q" .Name}}, Kind: {{kind .}}{{if .Ref}}, Ref: {{camel .Ref}}{{end}}{{if not .Null}}, Need: true{{end}}{{if .Retired}}, Retired: true{{end}}{{if .Words}}, Words: {{template "words" .Words}}{{end}}, Doc: {{printf "%q" .Doc}}},{{end -}}
`

const recordsText = `package canonical

// Envelope is what every canonical record begins with.
type Envelope struct {
{{- range .Envelope}}
	{{template "field" .}}
{{- end}}
}
{{range .Items}}
// {{.Name}} is one item of a list of that name.
//
//exhaustruct:enforce
type {{.Name}} struct {
{{- range .Fields}}
	{{template "field" .}}
{{- end}}
}
{{end}}
{{- range .Records}}
// {{.Title}}Record: {{.Doc}}
//
//exhaustruct:enforce
type {{.Title}}Record struct {
	{{- if .Own}}
	Envelope
	{{- end}}
	{{- range own .}}
	{{template "field" .}}
	{{- end}}
}
{{end}}
// recordNames are the records' names in schemas/avsc.
var recordNames = [...]string{ {{range .Records}}{{printf "%q" .Name}}, {{end}} }

// recordNumber is the place of a record's name in recordNames, -1 of a stranger.
func recordNumber(rec any) int {
	switch rec.(type) {
	{{- range $i, $r := .Records}}
	case *{{.Title}}Record:
		return {{$i}}
	{{- end}}
	default:
		return -1
	}
}

// Versioned is a record with an envelope.
type Versioned interface{ Head() *Envelope }

// Blank returns the record of an entity with no more than an envelope and what
// Avro's defaults say; nil where the entity has no record.
func Blank(entity string, head Envelope) Versioned {
	switch entity {
	{{- range .Records}}{{if .Own}}
	case {{printf "%q" .Name}}:
		r := new({{.Title}}Record)
		r.Envelope = head
		{{- range $f := own .}}{{with blank $f}}
		r.{{camel $f.Name}} = {{.}}
		{{- end}}{{end}}
		return r
	{{- end}}{{end}}
	default:
		return nil
	}
}
{{define "field"}}// {{.Doc}}
	{{camel .Name}} {{goType .}} ` + "`avro:\"{{.Name}}\"`" + `{{if and .From (ne .Type "list")}} //exhaustruct:optional CopyFrom sets it{{end}}{{end -}}
`

const copyText = `package canonical

import (
	"fmt"

	"syncline/schemas/change"
)
{{range .Records}}{{template "copy" dict "Name" (print .Title "Record") "Prefix" (title .Source) "Fields" (copied .Fields) "From" (print "the header row of " .Source)}}{{end}}
{{- range .Items}}{{template "copy" dict "Name" .Name "Prefix" .Prefix "Fields" (copied .Fields) "From" "a row of its part"}}{{end}}
{{if .Counts}}
// intOf is a value of a kind that is a whole number.
func intOf(v change.Value, kind change.Kind) *int64 {
	if v.Kind != kind {
		return nil
	}
	n := v.Int
	return &n
}
{{end}}
{{- define "copy"}}{{if .Fields}}
// CopyFrom sets the fields that are copied from {{.From}}.
func (r *{{.Name}}) CopyFrom(row *change.Row) {{if fallible .Fields true}}error {
	var err error{{else}}{ {{end}}
	{{- $p := .Prefix}}
	{{- range fallible .Fields false}}
	r.{{camel .Name}} = {{copy . $p}}
	{{- end}}
	{{- range fallible .Fields true}}
	if r.{{camel .Name}}, err = {{copy . $p}}; err != nil {
		return fmt.Errorf("copying {{.From}}: %w", err)
	}
	{{- end}}
	{{- if fallible .Fields true}}
	return nil{{end}}
}
{{end}}{{end -}}
`

const columnsText = `package clickhouse

import "syncline/schemas/canonical"

// headColumns are the columns that every entity's table begins with.
func headColumns[R any, P interface{*R; canonical.Versioned}]() []column[R] {
	return []column[R]{
	{{- range .Envelope}}
		{{head .}},
	{{- end}}
	}
}
{{range .Records}}
func {{.Name | lower}}Columns() []column[canonical.{{.Title}}Record] {
	type R = canonical.{{.Title}}Record
	return []column[R]{
	{{- range $f := own .}}{{if eq .Type "list"}}{{range .Of}}
		{{nested $f .}},{{end}}{{else}}
		{{column .}},{{end}}
	{{- end}}
	}
}
{{end}}`
