package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"syncline/deploy/embedded/engine"
)

// The users of the embedded ClickHouse.
const (
	WriterName = "syncline_writer"
	ReaderName = "syncline_reader"
)

// Login is a user of the embedded ClickHouse.
type Login = engine.Login

// Credentials are the logins of the embedded ClickHouse. The writer is for the
// pipelines and for whoever makes tables; the reader may read, and nothing else.
type Credentials struct{ Writer, Reader Login }

func (c Credentials) logins() []engine.Login { return []engine.Login{c.Writer, c.Reader} }

func credentialsDir(dir string) string { return filepath.Join(dir, "credentials") }

// ReadCredentials gives the logins of the platform over dir. The error wraps
// fs.ErrNotExist where no platform with an engine of its own was ever started.
func ReadCredentials(dir string) (Credentials, error) {
	return credentials(dir, func(path string) (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return "", err
		}
		if info.Mode().Perm()&0o077 != 0 {
			return "", fmt.Errorf("others may read %s: chmod 600 it, or remove it and start again for a new password", path)
		}
		var raw [256]byte
		n, _ := f.Read(raw[:]) // an empty file is told from a password below
		password := strings.TrimSpace(string(raw[:n]))
		if password == "" || len(password) > 200 {
			return "", fmt.Errorf("%s holds no password of 1 to 200 characters: remove it and start again for a new one", path)
		}
		return password, nil
	})
}

// makeCredentials gives the logins over dir, with new random passwords where
// there are none yet. The caller holds the platform's lock.
func makeCredentials(dir string) (Credentials, error) {
	if err := os.MkdirAll(credentialsDir(dir), 0o700); err != nil {
		return Credentials{}, fmt.Errorf("making the passwords of ClickHouse: %w", err)
	}
	if _, err := credentials(dir, func(path string) (string, error) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		// Whole or not at all: half a password would be taken for one.
		temp := path + ".new"
		if err := os.WriteFile(temp, []byte(rand.Text()+"\n"), 0o600); err != nil {
			return "", err
		}
		return "", os.Rename(temp, path)
	}); err != nil {
		return Credentials{}, err
	}
	return ReadCredentials(dir)
}

func credentials(dir string, password func(path string) (string, error)) (c Credentials, err error) {
	c = Credentials{Writer: engine.Login{Name: WriterName}, Reader: engine.Login{Name: ReaderName, ReadOnly: true}}
	for _, l := range []*engine.Login{&c.Writer, &c.Reader} {
		if l.Password, err = password(filepath.Join(credentialsDir(dir), l.Name)); err != nil {
			return Credentials{}, fmt.Errorf("the password of ClickHouse's user %s: %w", l.Name, err)
		}
	}
	return c, nil
}
