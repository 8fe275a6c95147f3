package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// mendLogs cuts torn entries off the logs of groups and producers. kfake reads up
// to the first broken entry and goes on writing behind it: after a second unclean
// end all that it wrote in between would be lost. (Its segments it cuts itself.)
func mendLogs(dir string) error {
	for _, name := range []string{"groups.log", "pids.log"} {
		path := filepath.Join(dir, name)
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			if whole := wholeEntries(raw); whole < len(raw) {
				err = os.Truncate(path, int64(whole))
			}
		}
		if err != nil {
			return fmt.Errorf("mending the broker's %s: %w", name, err)
		}
	}
	return nil
}

// wholeEntries gives the length of the whole entries at the beginning of a log. An
// entry is its length and checksum, four bytes each, least first, and as many bytes
// as the length says: two of version and the rest, all under the checksum.
func wholeEntries(raw []byte) int {
	const header = 8
	at := 0
	for at+header <= len(raw) {
		length := int(binary.LittleEndian.Uint32(raw[at:]))
		if length < 2 || length > len(raw)-at-header {
			break
		}
		entry := raw[at+header : at+header+length]
		if crc32.Checksum(entry, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(raw[at+4:]) {
			break
		}
		at += header + length
	}
	return at
}
