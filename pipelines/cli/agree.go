package cli

import (
	"bufio"
	"fmt"
	"os"
	"os/user"
	"strings"
)

// agree shows what an act would do, and says whether it may be done: if apply is
// the hash of just this plan, or somebody at a terminal says yes. Where it may
// not, the error, or nil after the plan was printed with the command that carries
// it out, is the command's answer.
func (a *app) agree(command, again, what, hash, apply string, plan any, table Table) (bool, error) {
	code := strings.ReplaceAll(command, " ", ".")
	switch {
	case apply == hash:
		return true, nil
	case apply != "":
		return false, input(code+".plan_changed", "look at the plan again: "+again, "the plan is another one by now: its hash is %s, not %s", hash, apply)
	case a.format == "json" || !a.asks():
		return false, a.answer(command, what+"\nTo go ahead: "+again+" --apply "+hash, plan, table)
	}
	if len(table.Columns) > 0 {
		table.write(a.out)
	}
	fmt.Fprintf(a.out, "%s\nGo ahead? [yes/no] ", what)
	line, _ := bufio.NewReader(a.in).ReadString('\n') // the end of input is no yes
	if strings.TrimSpace(line) != "yes" {
		return false, input(code+".no", "answer yes to go ahead", "nothing was done")
	}
	return true, nil
}

// asks says whether there is somebody to ask.
func (a *app) asks() bool {
	f, ok := a.in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	nobody, err := os.Stat(os.DevNull) // standard input may be it, under its own name
	return err != nil || !os.SameFile(info, nobody)
}

// whoever names who runs the command, for the record.
func whoever() string {
	host, _ := os.Hostname() // the user alone then
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return host
}
