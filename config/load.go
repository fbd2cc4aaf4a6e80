package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const (
	envFile  = "LIFEBOAT_CONFIG"
	hereFile = "lifeboat.yaml"
	etcFile  = "/etc/lifeboat/lifeboat.yaml"
)

// Load reads and checks the configuration at path, with names from the process's environment. What is wrong with the
// contents is a Problems; a file that cannot be read is an fs.PathError.
func Load(path string) (*Config, error) {
	text, err := Read(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text, os.LookupEnv)
}

// Read reads a text file that the user named. What is too large for one is read as far as shows that, because it may have no end; and
// a pipe into which nobody writes is empty: waiting for somebody could not be interrupted.
func Read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Find is the configuration file to use: flag if it is not empty, then $LIFEBOAT_CONFIG, then ./lifeboat.yaml, then
// the system's. One that was named is returned whether or not it exists; finding none is fs.ErrNotExist.
func Find(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if path := os.Getenv(envFile); path != "" {
		return path, nil
	}
	return findIn(hereFile, etcFile)
}

// findIn returns the first path where anything stands, readable or not: an unreadable one must not be passed over.
func findIn(paths ...string) (string, error) {
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", fmt.Errorf("find configuration: neither %s nor %s: %w: name one with -c or $%s",
		hereFile, etcFile, fs.ErrNotExist, envFile)
}
