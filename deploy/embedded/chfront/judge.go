package chfront

import "strings"

// reading tells the words with which a statement that only reads begins.
func reading(word string) bool {
	switch strings.ToUpper(word) {
	case "SELECT", "WITH", "FROM", "VALUES", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "(":
		return true
	}
	return false
}

// closed tells the functions that reach files or the network and that need no
// grant. That they reach nothing, whatever way they are called, is seen to by the
// kernel (package sandbox); here they get a clear answer.
func closed(name string) bool {
	switch strings.ToLower(name) {
	case "file", "executable", "arrowstream", "disk", "catboostevaluate",
		"aiclassify", "aiembed", "aiextract", "aigenerate", "aitranslate":
		return true
	}
	return false
}

// keeps tells the engines of tables and databases that keep their data here. The
// library asks for a grant only where an engine reads elsewhere by its definition.
func keeps(engine string) bool {
	switch strings.ToLower(engine) {
	case "mergetree", "replacingmergetree", "summingmergetree", "aggregatingmergetree", "memory", "null", "atomic":
		return true
	}
	return false
}

// engineNamed gives what a statement that creates or attaches names as engine; ""
// where it names none.
func engineNamed(list []token) string {
	if first := list[0]; !first.is("CREATE") && !first.is("ATTACH") && !first.is("REPLACE") {
		return ""
	}
	for i, t := range list[:len(list)-1] {
		if t.is("SELECT") {
			break // from here on it may be a column
		}
		if t.depth != 0 || !t.is("ENGINE") {
			continue
		}
		if list[i+1].text == "=" && i+2 < len(list) {
			i++
		}
		return strings.Trim(list[i+1].text, "`\"")
	}
	return ""
}

// judge refuses what the library does in its client, which knows no grants:
// INTO OUTFILE, FROM INFILE, and the commands that begin with a backslash. For
// readOnly it also refuses each statement that does not begin like one that
// reads, as the engine's readonly lets KILL QUERY pass, and settings in it, of
// which the engine checks only the outermost clause: for a reader all, else readonly.
func judge(text string, reader, readOnly bool) error {
	list, sure := tokens(text)
	if len(list) == 0 {
		return exception(codeSyntaxError, "Empty query")
	}
	first := list[0].text
	if readOnly && !reading(first) {
		return exception(codeReadonly, "Cannot execute query in readonly mode: this user, and GET for every user, may only read, and the statement begins with %.40q", first)
	}
	if first == `\` {
		return refused(`commands of the command line client, as %.20q, are not open`, text)
	}
	if name := engineNamed(list); name != "" && !keeps(name) {
		return refused("the engine %.40s is not open", name)
	}
	insert := list[0].is("INSERT") // what follows may be data
	settings := false
	for i, t := range list[1:] {
		switch before := list[i]; {
		case t.text == "=" && settings && strings.EqualFold(strings.Trim(before.text, "`\""), "readonly"),
			t.text == "=" && i > 0 && list[i-1].is("SETTINGS") && reader:
			return exception(codeReadonly, "Cannot modify '%.40s' setting in readonly mode", before.text)
		case before.is("INTO") && t.is("OUTFILE"), before.is("FROM") && t.is("INFILE"):
			return refused("%s %s is not open", strings.ToUpper(before.text), strings.ToUpper(t.text))
		case !insert && t.text == "(" && closed(before.text):
			return refused("the function %.40s is not open", before.text)
		}
		settings = settings || readOnly && t.is("SETTINGS")
	}
	if lower := strings.ToLower(text); !sure && (strings.Contains(lower, "outfile") || strings.Contains(lower, "infile") || readOnly && strings.Contains(lower, "settings")) {
		return refused(`it is not certain that OUTFILE, INFILE or SETTINGS is only text here: leave out open quotes, comments inside comments, and \ $ # and other than ASCII characters outside of quotes`)
	}
	return nil
}

// OnlyReads gives nil for a statement that a reader may run, else an error that says
// why not. A client asks before it sends anything to a server on which its
// user may do more: there readonly lets KILL and SYSTEM pass.
func OnlyReads(statement string) error { return judge(statement, true, true) }

func refused(format string, args ...any) error {
	return exception(codeAccessDenied, "The embedded ClickHouse reaches neither files nor the network: "+format, args...)
}
