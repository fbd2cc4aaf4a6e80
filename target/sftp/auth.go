package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"lifeboat/internal/secretfile"
)

// keys are who connects.
type keys struct {
	signers []ssh.Signer
	from    string
	release func() // ends the use of the signers
}

// String says which keys they are.
func (k *keys) String() string {
	var out []string
	for _, s := range k.signers {
		out = append(out, s.PublicKey().Type()+" "+ssh.FingerprintSHA256(s.PublicKey()))
	}
	return fmt.Sprintf("the key %s of %s", strings.Join(out, ", "), k.from)
}

func (t *Target) keys(ctx context.Context) (*keys, error) {
	if t.cfg.KeyFile != "" {
		return fileKey(t.cfg.KeyFile)
	}
	return agentKeys(ctx, os.Getenv("SSH_AUTH_SOCK"))
}

// fileKey reads a private key that nobody else can read.
func fileKey(file string) (*keys, error) {
	b, err := secretfile.ReadAll(file, "key file")
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: correct key_file, or make a key with ssh-keygen -t ed25519", err)
	}
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(b)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("the key file %s has a passphrase, which nobody is there to type: leave key_file out and use an agent (ssh-add %s), or a key without one for an account that may do nothing else", file, file)
	case err != nil:
		return nil, fmt.Errorf("the key file %s is no private key that can be used: %w", file, err)
	}
	return &keys{signers: []ssh.Signer{signer}, from: file, release: func() {}}, nil
}

func agentKeys(ctx context.Context, socket string) (*keys, error) {
	if socket == "" {
		return nil, errors.New("there is no key: configure key_file, or start an agent (SSH_AUTH_SOCK)")
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("ask the agent at SSH_AUTH_SOCK: %w: start it, or configure key_file", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	release := func() {
		stop()
		_ = c.Close() // nothing was written that counts
	}
	signers, err := agent.NewClient(c).Signers()
	if err == nil && len(signers) == 0 {
		err = errors.New("it has no keys: ssh-add one, or configure key_file")
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("ask the agent at SSH_AUTH_SOCK: %w", err)
	}
	return &keys{signers: signers, from: "the agent", release: release}, nil
}
