package chfront

import "strings"

// token is a word, or a single other character, outside of quotes and comments.
type token struct {
	text       string
	start, end int
	depth      int // of parentheses
}

// is compares a word with a keyword.
func (t token) is(keyword string) bool { return strings.EqualFold(t.text, keyword) }

// tokens cuts a statement up far enough to find its clauses: quoted text
// becomes one token of its own, comments vanish. sure is false where the engine
// might cut differently: open quotes and comments, comments inside comments,
// $tags$, backslashes and other than ASCII characters outside of quotes.
func tokens(query string) (out []token, sure bool) {
	depth := 0
	sure = true
	for i := 0; i < len(query); {
		c := query[i]
		switch {
		case c == '-' && strings.HasPrefix(query[i:], "--"), c == '#' && (strings.HasPrefix(query[i:], "# ") || strings.HasPrefix(query[i:], "#!")):
			n := strings.IndexByte(query[i:], '\n')
			if n < 0 {
				return out, sure
			}
			i += n + 1
		case strings.HasPrefix(query[i:], "/*"):
			n := strings.Index(query[i+2:], "*/")
			if n < 0 {
				return out, false
			}
			sure = sure && !strings.Contains(query[i+2:i+2+n], "/*")
			i += n + 4
		case c == '\'' || c == '"' || c == '`':
			end := quoteEnd(query, i)
			sure = sure && end > i+1 && query[end-1] == c
			out = append(out, token{query[i:end], i, end, depth})
			i = end
		case isWord(c):
			end := i
			for end < len(query) && isWord(query[end]) {
				sure = sure && query[end] < 0x80
				end++
			}
			out = append(out, token{query[i:end], i, end, depth})
			i = end
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
		default:
			if c == ')' && depth > 0 {
				depth--
			}
			if c == '$' || c == '\\' || c == '#' || c < ' ' {
				sure = false
			}
			out = append(out, token{query[i : i+1], i, i + 1, depth})
			if c == '(' {
				depth++
			}
			i++
		}
	}
	return out, sure
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func quoteEnd(query string, start int) int {
	quote := query[start]
	for i := start + 1; i < len(query); i++ {
		switch query[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(query) && query[i+1] == quote {
				i++
				continue
			}
			return i + 1
		}
	}
	return len(query)
}

// shape is what the front must know of a statement before it runs it.
type shape struct {
	insert bool
	// format is the name in a closing FORMAT clause, "" without one.
	format string
	// head is the statement without that clause and what follows it.
	head string
	// trailing says that something (SETTINGS, inline data) follows the clause.
	trailing bool
}

// shapeOf finds a FORMAT clause at the end of a statement: FORMAT, a name and
// then the end, a semicolon or SETTINGS. For an INSERT the first one at depth
// 0 counts, as inline data may follow it.
func shapeOf(query string) shape {
	list, _ := tokens(query)
	s := shape{head: query}
	if len(list) > 0 {
		s.insert = list[0].is("INSERT")
	}
	for i := len(list) - 2; i > 0; i-- {
		if list[i].depth != 0 || !list[i].is("FORMAT") || !isWord(list[i+1].text[0]) {
			continue
		}
		ends := i+2 == len(list) || list[i+2].text == ";" || list[i+2].is("SETTINGS")
		if !s.insert && !ends {
			continue
		}
		s.format, s.head = list[i+1].text, query[:list[i].start]
		s.trailing = i+2 < len(list) && list[i+2].text != ";"
		if !s.insert {
			break
		}
	}
	return s
}
