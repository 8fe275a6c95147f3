//go:build !linux

package run

func processSpace() string             { return "" }
func processTicks(int) string          { return "" }
func processGone(Process, string) bool { return false }
