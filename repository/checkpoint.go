package repository

import (
	"encoding/base64"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/journal"
)

// SignCheckpoint signs a C2SP checkpoint of a whole journal with the key of the host whose state directory this is, which must be the one that writes it.
func SignCheckpoint(stateDir string, chain *journal.Chain) ([]byte, error) {
	h := &Host{Config: Config{StateDir: stateDir}}
	if err := h.load(); err != nil {
		return nil, err
	}
	signer, err := crypto.NewSigner(h.secrets.Repository, crypto.Writer, h.secrets.SigningSeed)
	if err != nil {
		return nil, err
	}
	writer, err := chain.WriterAfter(chain.Len())
	if err != nil {
		return nil, err
	}
	if writer.Name() != signer.Name() || writer.KeyHash() != signer.KeyHash() {
		return nil, fmt.Errorf("sign a checkpoint: another host writes this journal by now: do it there: %w", ErrNoRepository)
	}
	root, err := chain.Root(chain.Len())
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", signer.Name(), chain.Len(), base64.StdEncoding.EncodeToString(root[:]))
	b, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, fmt.Errorf("sign a checkpoint: %w", err)
	}
	return b, nil
}
