package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/restore"
)

// slotted makes the slot where it is missing.
func (t *stream) slotted() error {
	if t.session.version >= 150000 { // to make one that is there would be an error in the server's log
		row, err := t.session.row(fmt.Sprintf("READ_REPLICATION_SLOT %q", t.Slot), 1)
		if err != nil || row[0] != "" {
			return err
		}
	}
	_, err := t.session.rows(fmt.Sprintf("CREATE_REPLICATION_SLOT %q PHYSICAL RESERVE_WAL", t.Slot))
	if code(err) == duplicateObject {
		return nil
	}
	return err
}

// drop removes the slot where it was invalidated: it would keep nothing any more.
func (s *Source) drop(ctx context.Context, cfg *pgconn.Config) error {
	ses, err := dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer ses.close()
	_, err = ses.rows(fmt.Sprintf("DROP_REPLICATION_SLOT %q WAIT", s.Slot))
	return err
}

// RemoveSlot drops the permanent slot on every server of the DSN, and returns those that had it. Errors are *Error; where somebody
// captures the log through it just now they wrap restore.ErrRefused.
func (s *Source) RemoveSlot(ctx context.Context) (removed []string, err error) {
	cfg, err := parse(s.dsn, s.password)
	if err != nil {
		return nil, &Error{Op: "remove the slot on", Server: "the source", Err: err, Hint: "write it as postgres://user@host:5432/database"}
	}
	var errs []error
	for _, one := range servers(cfg) {
		found, err := s.removeSlot(ctx, one)
		errs = append(errs, describe("remove slot "+s.Slot+" on", one, err))
		if found {
			removed = append(removed, where(one))
		}
	}
	return removed, errors.Join(errs...)
}

func (s *Source) removeSlot(ctx context.Context, cfg *pgconn.Config) (found bool, err error) {
	ses, err := dial(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer ses.close()
	_, err = ses.rows(fmt.Sprintf("DROP_REPLICATION_SLOT %q", s.Slot))
	switch code(err) {
	case unknownParameter: // no such slot
		return false, nil
	case slotInUse:
		return false, &Error{Op: "remove slot " + s.Slot + " on", Server: where(cfg), Err: fmt.Errorf("%w: the log is being captured through it", restore.ErrRefused),
			Hint: "end `lifeboat stream`, here or on the host where it runs, and repeat"}
	}
	return err == nil, err
}

// code is the SQLSTATE of a server's error; empty for others and none.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
