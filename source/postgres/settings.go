package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// kept are the settings that a restored cluster needs, or that tell about it. The first five must not be lower than the
// original's, or replay stops.
var kept = []string{
	"max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction",
	"wal_level", "data_checksums", "summarize_wal", "server_version", "shared_preload_libraries", "max_slot_wal_keep_size",
}

// settings reads what the server tells this user.
func (s *session) settings() (map[string]string, error) {
	out := map[string]string{}
	for _, name := range kept {
		row, err := s.row("SHOW "+name, 1)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && (refused.Code == noPrivilege || refused.Code == unknownParameter) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[name] = row[0]
	}
	return out, nil
}
