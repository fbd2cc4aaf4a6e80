package repository

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/journal"
)

// Checkpoint signs how the journal reads up to the newest record that the host of a state directory knows. chain is of any copy and reaches that far. It
// needs no lock, so that it can be had while the daemon works: a journal only grows.
func Checkpoint(stateDir string, chain *journal.Chain) ([]byte, error) {
	head, err := journal.ReadHead(stateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, notInitialised(stateDir)
	}
	if err != nil {
		return nil, err
	}
	if n := head.Seq; n == 0 || chain.Len() < n || journal.Hash(chain.Entries()[n-1].Raw) != head.Hash {
		return nil, fmt.Errorf("sign a checkpoint: %w: the copy does not hold the journal as this host knows it, up to record %d: run `lifeboat check`", journal.ErrForeign, n)
	}
	signer, err := checkpointSigner(stateDir, chain, head.Seq)
	if err != nil {
		return nil, err
	}
	return chain.Checkpoint(head.Seq, signer)
}

// SignCheckpoint signs a C2SP checkpoint of a whole journal with the key of the host whose state directory this is, which must be the one that writes it.
func SignCheckpoint(stateDir string, chain *journal.Chain) ([]byte, error) {
	signer, err := checkpointSigner(stateDir, chain, chain.Len())
	if err != nil {
		return nil, err
	}
	return chain.Checkpoint(chain.Len(), signer)
}

// SignText signs a text as a note with the key of the host whose state directory this is, which must be the one that writes the journal. The text must begin
// like nothing else that this key signs: neither as a record nor as a checkpoint.
func SignText(stateDir string, chain *journal.Chain, text string) ([]byte, error) {
	signer, err := checkpointSigner(stateDir, chain, chain.Len())
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: text}, signer)
}

// checkpointSigner is the key of the host of a state directory, if it is the one that wrote record n.
func checkpointSigner(stateDir string, chain *journal.Chain, n uint64) (note.Signer, error) {
	h := &Host{Config: Config{StateDir: stateDir}}
	if err := h.load(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, notInitialised(stateDir)
		}
		return nil, err
	}
	signer, err := crypto.NewSigner(h.secrets.Repository, crypto.Writer, h.secrets.SigningSeed)
	if err != nil {
		return nil, err
	}
	writer, err := chain.WriterAfter(n)
	if err != nil {
		return nil, err
	}
	if writer.Name() != signer.Name() || writer.KeyHash() != signer.KeyHash() {
		return nil, fmt.Errorf("sign a checkpoint: another host writes this journal by now, or it is another repository's: do it there: %w", ErrNoRepository)
	}
	return signer, nil
}
