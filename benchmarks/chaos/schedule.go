package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds. A member is one process of the pipelines.
const (
	KillMember     Kind = "kill a member"             // SIGKILL, started again
	KillMembers    Kind = "kill all members"          // at once, all started again
	FreezeMember   Kind = "freeze a member"           // SIGSTOP, for longer than its session at times
	DrainMember    Kind = "drain a member"            // SIGTERM, started again
	Storm          Kind = "storm"                     // members come and go, one to four of them
	UpgradeMember  Kind = "another binary"            // a member goes on as the other commit's, and back at its next start
	RestartIdle    Kind = "restart after idle"        // all drained when nothing is left to do, the broker too
	KillEngine     Kind = "kill ClickHouse"           // SIGKILL, started again
	FreezeEngine   Kind = "freeze ClickHouse"         // SIGSTOP
	KillRegistry   Kind = "kill the registry"         // SIGKILL, started again
	FreezeRegistry Kind = "freeze the registry"       // SIGSTOP
	KillBroker     Kind = "kill a broker"             // SIGKILL, started again
	FreezeBroker   Kind = "freeze a broker"           // SIGSTOP
	FillDisk       Kind = "fill a broker's disk"      // until the fault is over; the broker is started again
	SpoilEngine    Kind = "spoil links: ClickHouse"   // cut, slow, or replies lost after their effect
	SpoilRegistry  Kind = "spoil links: registry"     // the same
	SpoilBroker    Kind = "spoil links: one broker's" // the same
)

// Kills says whether the fault ends a process by SIGKILL.
func (k Kind) Kills() bool {
	switch k {
	case KillMember, KillMembers, KillEngine, KillRegistry, KillBroker:
		return true
	default:
		return false
	}
}

// Weights says how often a kind comes; a kind that cannot be done where the run
// takes place is left out.
type Weights map[Kind]int

// Fault is one fault of a run.
type Fault struct {
	Kind   Kind
	Target int           // which of several, to be taken modulo their number
	Mode   Mode          // of a spoilt link
	For    time.Duration // how long it lasts
	Pause  time.Duration // before the next one
}

// String is the fault as a line of the run's log.
func (f Fault) String() string {
	s := fmt.Sprintf("%s %d for %s", f.Kind, f.Target, f.For.Round(time.Millisecond))
	if f.Mode != Plain {
		s += " (" + f.Mode.String() + ")"
	}
	return s
}

// order fixes the kinds' order, which a map has not.
var order = []Kind{
	KillMember, KillMembers, FreezeMember, DrainMember, Storm, UpgradeMember, RestartIdle, KillEngine, FreezeEngine, KillRegistry,
	FreezeRegistry, KillBroker, FreezeBroker, FillDisk, SpoilEngine, SpoilRegistry, SpoilBroker,
}

// Schedule gives the faults of a run: the same ones for the same seed and
// weights.
func Schedule(seed uint64, rounds int, weights Weights) []Fault {
	random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // to be repeated
	total := 0
	for _, k := range order {
		total += weights[k]
	}
	if total == 0 {
		return nil
	}
	faults := make([]Fault, rounds)
	for i := range faults {
		f := Fault{Target: random.IntN(12), For: between(random, 200*time.Millisecond, 4*time.Second), Pause: between(random, 300*time.Millisecond, 2*time.Second)}
		for at := random.IntN(total); ; {
			for _, k := range order {
				if at -= weights[k]; at < 0 {
					f.Kind = k
					break
				}
			}
			break
		}
		long := random.IntN(3) == 0
		mode := spoilt[random.IntN(len(spoilt))]
		switch f.Kind {
		case FreezeMember:
			if long { // its session and its transactions end meanwhile
				f.For += 14 * time.Second
			}
		case FreezeBroker, FreezeEngine, FreezeRegistry:
			if long {
				f.For += 6 * time.Second
			}
		case SpoilEngine, SpoilRegistry, SpoilBroker:
			f.Mode = mode
		default:
		}
		faults[i] = f
	}
	return faults
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}
