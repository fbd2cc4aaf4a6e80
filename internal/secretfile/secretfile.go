// Package secretfile reads passwords, keys and other secrets that stand in files of their own, where nobody else can read them.
package secretfile

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// most is more than any password or key has, in bytes.
const most = 64 << 10

// Read returns the first line of a file that nobody but its owner can read; an empty path is no secret. what names the file in
// errors: "password file", say.
func Read(path, what string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := ReadAll(path, what)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("the %s %s has nothing in its first line: write the secret there", what, path)
	}
	return line, nil
}

// ReadAll is Read for all of a file.
func ReadAll(path, what string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe would wait for whoever writes into it
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the %s %s is no regular file: correct the path", what, path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the %s %s can be read by others (mode %04o): chmod 600 %s", what, path, info.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", what, err)
	}
	if len(b) > most {
		return nil, fmt.Errorf("the %s %s has more than %d bytes: is it the right file?", what, path, most)
	}
	return b, nil
}
