package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// checkDisk looks at the space under the data directory.
func (a *app) checkDisk() Finding {
	const least = 2 << 30
	dir := a.settings.DataDir
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	f := Finding{Check: "disk " + dir, OK: true}
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		f.Warning, f.Found = true, err.Error()
		return f
	}
	free := s.Bavail * uint64(s.Bsize) //nolint:gosec // a block size is positive
	f.Found = fmt.Sprintf("%.1f GiB free", float64(free)/(1<<30))
	if free < least {
		f.Warning, f.Fix = true, "the embedded platform wants 2 GiB: make room or give --data-dir"
	}
	return f
}
