package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// checked says which file had which checksum, so that half a gigabyte is not
// read at every start. It lies beside the library, under the same rights: who
// could forge it could replace the program that loads the library.
type checked struct {
	Inode    uint64 `json:"inode"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // nanoseconds
	SHA256   string `json:"sha256"`
}

func checkedPath(library string) string { return library + ".checked" }

// present says whether the pinned library is at path.
func present(path string, a artifact) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the ClickHouse library: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != a.size {
		return false, nil
	}
	now := identity(info, a.sha256)
	var known checked
	if raw, err := os.ReadFile(checkedPath(path)); err == nil && json.Unmarshal(raw, &known) == nil && known == now {
		return true, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("checking the ClickHouse library: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return false, fmt.Errorf("checking the ClickHouse library: %w", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != a.sha256 {
		return false, nil
	}
	noteChecked(path, a.sha256)
	return true, nil
}

func identity(info fs.FileInfo, sum string) checked {
	return checked{Inode: inode(info), Size: info.Size(), Modified: info.ModTime().UnixNano(), SHA256: sum}
}

// noteChecked is for speed only: a note that cannot be written costs the next
// start a second.
func noteChecked(path, sum string) {
	info, err := os.Lstat(path)
	if err != nil {
		return
	}
	raw, err := json.Marshal(identity(info, sum))
	if err != nil {
		return
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "checked-*")
	if err != nil {
		return
	}
	_, err = temp.Write(raw)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), checkedPath(path))
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
}
