package mysql

import (
	"context"
	"errors"

	"lifeboat/snapshot"
)

func (s *Source) openLogical(context.Context, *session, choice) (snapshot.View, error) {
	return nil, errors.New("mode logical is not in this version")
}
