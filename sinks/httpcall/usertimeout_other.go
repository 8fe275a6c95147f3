//go:build !linux

package httpcall

import (
	"net"
	"time"
)

// setUserTimeout is Linux's only; elsewhere a profile's Settle has to cover the
// kernel's retransmissions.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
