package catalog
import ("testing";"strings";"time";"fmt"
"github.com/goccy/go-yaml"
"github.com/goccy/go-yaml/lexer"
"github.com/goccy/go-yaml/parser"
)
func TestZZ(t *testing.T){
 for _,n:=range []int{2000,20000,80000} {
 for name,x:=range map[string]string{
   "flowmaps": "tables: ["+strings.Repeat("{},",n)+"]",
   "blockseq": "tables:\n"+strings.Repeat("  - {}\n",n),
   "flowseq": "x: ["+strings.Repeat("a,",n)+"]",
   "blockmap": func()string{var b strings.Builder;for i:=range n{fmt.Fprintf(&b,"k%d: v\n",i)};return b.String()}(),
   "longstr": "catalog: "+strings.Repeat("abcdefghi ",n),
   "quoted": "catalog: \""+strings.Repeat("abcdefghi\\n",n)+"\"",
   "open": strings.Repeat("[",n),
   "dashes": strings.Repeat("- ",n),
   "braces": strings.Repeat("{a: ",n),
   "quest": strings.Repeat("? ",n),
   "colons": strings.Repeat("a: ",n),
   "anchors": strings.Repeat("&a ",n),
   "tags": strings.Repeat("!a ",n),
   "comments": strings.Repeat("# a\n",n),
   "literal": "a: |\n"+strings.Repeat("  abc\n",n),
   "docs": strings.Repeat("---\n",n),
 } {
  s:=time.Now(); toks:=lexer.Tokenize(x); d:=time.Since(s)
  if len(x)<20000*10 && (n<20000 || !strings.Contains("open dashes braces quest colons anchors tags",name)) {
  s=time.Now(); f,err:=parser.ParseBytes([]byte(x),0); d2:=time.Since(s)
  s=time.Now(); _=f; var c Catalog; err2:=yaml.NewDecoder(strings.NewReader(x),yaml.Strict()).Decode(&c); d3:=time.Since(s)
  fmt.Println(n,name,len(x),len(toks),"lex",d,"parse",d2,"decode",d3,err!=nil, err2!=nil)
  } else { fmt.Println(n,name,len(x),len(toks),"lex",d) }
 }}
}
