package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUnavailable is returned where the kernel offers no Landlock.
var ErrUnavailable = errors.New("the kernel offers no Landlock (Linux 5.13 or newer, not turned off)")

const (
	readFile  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	readAll   = readFile | unix.LANDLOCK_ACCESS_FS_READ_DIR
	writeFile = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE
)

// accesses gives what a version of Landlock can forbid on files.
func accesses(abi int) uint64 {
	all := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM)<<1 - 1 // version 1: all up to this one
	if abi >= 2 {
		all |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		all |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		all |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return all
}

// Exec replaces the running program by itself with other arguments and less in
// reach: besides r nothing on disk, and no connection over TCP to anywhere.
// It returns only on an error; ErrUnavailable leaves the program as it was.
func Exec(r Reach, args []string) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || int(abi) < 1 {
		return ErrUnavailable
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's file: %w", err)
	}
	own, err := loaded()
	if err != nil {
		return err
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: accesses(int(abi))}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("making the sandbox's rules: %w", errno)
	}
	rules := os.NewFile(fd, "landlock") // closed on exec
	for _, path := range r.Write {
		if err := allow(rules, path, attr.Handled_access_fs&^unix.LANDLOCK_ACCESS_FS_EXECUTE, writeFile); err != nil {
			return err
		}
	}
	for _, path := range append(append([]string{self}, own...), r.Read...) {
		if err := allow(rules, path, readAll, readFile); err != nil {
			return err
		}
	}
	for _, path := range []string{"/dev/null", "/dev/urandom", "/dev/random"} {
		if err := allow(rules, path, 0, writeFile); err != nil {
			return err
		}
	}
	if r.Keep != nil {
		if _, err := unix.FcntlInt(r.Keep.Fd(), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keeping a file open: %w", err)
		}
	}
	// Both calls hold for this thread and for what it becomes.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("entering the sandbox: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules.Fd(), 0, 0); errno != 0 {
		return fmt.Errorf("entering the sandbox: %w", errno)
	}
	return fmt.Errorf("starting %s in the sandbox: %w", self, syscall.Exec(self, append([]string{self}, args...), r.Environment))
}

// allow adds a rule for what lies at path, a folder or a file; what is absent
// needs none.
func allow(rules *os.File, path string, folder, file uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("putting %s into the sandbox: %w", path, err)
	}
	if strings.HasPrefix(path, "/proc/") {
		// A rule holds for what was found at the path. Of /proc that is made anew at
		// each look, unless somebody still has it open: so this stays so.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("putting %s into the sandbox: %w", path, err)
		}
	} else {
		defer unix.Close(fd)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("putting %s into the sandbox: %w", path, err)
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: file, Parent_fd: int32(fd)} //nolint:gosec // a descriptor
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		attr.Allowed_access = folder
	}
	if attr.Allowed_access == 0 {
		return nil
	}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules.Fd(), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("putting %s into the sandbox: %w", path, errno)
	}
	return nil
}

// loaded gives the folders of the system's libraries and loader, wherever this
// system keeps them, with the loader's index.
func loaded() ([]string, error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("finding the loaded libraries: %w", err)
	}
	defer f.Close()
	folders := []string{"/etc/ld.so.cache"}
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		_, path, found := strings.Cut(lines.Text(), " /")
		if !found {
			continue
		}
		path = "/" + path
		if folder := filepath.Dir(path); strings.Contains(filepath.Base(path), ".so") && !seen[folder] {
			seen[folder] = true
			folders = append(folders, folder)
		}
	}
	return folders, lines.Err()
}
