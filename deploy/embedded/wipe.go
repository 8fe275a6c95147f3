package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"syncline/deploy/embedded/broker"
	"syncline/deploy/embedded/filelock"
)

// Wipe deletes topics, schemas and databases of the platform over dir, for a
// rebuild from the sources. The platform must be stopped. Logs stay.
func Wipe(dir string) error {
	return stopped(dir, func() error {
		return errors.Join(broker.Wipe(filepath.Join(dir, "broker")), os.RemoveAll(filepath.Join(dir, "clickhouse")))
	})
}

func stopped(dir string, do func() error) error {
	unlock, err := filelock.Try(filepath.Join(dir, "platform.lock"))
	if err != nil {
		return fmt.Errorf("the platform over %s must be stopped first: %w", dir, err)
	}
	defer unlock()
	return do()
}
