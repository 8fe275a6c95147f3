package run

import (
	"os"
	"strconv"
	"strings"
)

// processSpace names where a process id means something: this boot of this
// machine, and the namespace that a container may have of its own.
func processSpace() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + namespace
}

// processTicks is when a process began, in the kernel's count since its boot; ""
// where there is no such process, or one that has ended and not been waited for.
func processTicks(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The name in brackets may hold anything; behind it come state and numbers.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const state, began = 0, 19
	if len(fields) <= began || fields[state] == "Z" || fields[state] == "X" {
		return ""
	}
	return fields[began]
}

// processGone says of a process in the same space that it has ended: nobody has
// its number, or somebody who began at another time.
func processGone(p Process, space string) bool {
	return space != "" && p.Space == space && processTicks(p.PID) != p.Ticks
}
