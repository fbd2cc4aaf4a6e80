package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	envFile  = "LIFEBOAT_CONFIG"
	hereFile = "lifeboat.yaml"
	etcFile  = "/etc/lifeboat/lifeboat.yaml"
)

// Load reads and checks the configuration at path, with names from the process's environment. What is wrong with the
// contents is a Problems; a file that cannot be read is an fs.PathError.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text, os.LookupEnv)
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
