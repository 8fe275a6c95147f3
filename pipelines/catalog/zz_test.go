package catalog
import ("testing";"strings";"time";"os";"fmt")
func TestZZ(t *testing.T){
 bomb:="a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
 for i:=1;i<12;i++ { p:=fmt.Sprintf("*a%d",i-1); bomb+=fmt.Sprintf("a%d: &a%d [%s]\n",i,i,strings.Join([]string{p,p,p,p,p,p,p,p,p,p},",")) }
 c:=map[string]string{
 "depth1e3":strings.Repeat("[",1000),
 "depth1e4":strings.Repeat("[",10000),
 "depth1e5":strings.Repeat("[",100000),
 "depth4e6":strings.Repeat("[",4<<20),
 "depthbraces":strings.Repeat("{a: ",100000),
 "dash":strings.Repeat("- ",100000),
 "indent":func()string{var b strings.Builder;for i:=range 2000{b.WriteString(strings.Repeat(" ",i)+"a:\n")};return b.String()}(),
 "bomb":bomb,
 "bomb2":bomb+"catalog: *a11\n",
 "bomb3":bomb+"owners: *a11\n",
 "merge":"a: &a {<<: *a}\ntables: [*a]\n",
 "selfref":"tables: &a [*a]\n",
 "manytables":"tables: ["+strings.Repeat("{},",200000)+"]",
 "manykeys":"systems: {"+strings.Repeat("a: {},",100)+"}",
 "nulls":"catalog: null\nversion: null\nsystems: {a: null}\nidentity: null\nowners: [null]\ntables: [null, {fields: {name: null}, party: null, milestones: {created: null}, key: [null], changed: null, entity: party}]\n",
 "tab":"catalog:\tx\n\tversion: 1\n",
 "multi":good+"---\ncatalog: b\n",
 "bom":"\ufeff"+good,
 "bin":"\x00\x01\xff",
 }
 n:=os.Getenv("ZZ")
 x,ok:=c[n]; if !ok {for k:=range c {fmt.Println(k)};return}
 s:=time.Now()
 _,err:=Parse("x",[]byte(x))
 m:=fmt.Sprint(err)
 fmt.Println(n,time.Since(s),len(m),m[:min(len(m),300)])
}
