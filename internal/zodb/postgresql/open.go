package postgresql

import (
	"cmp"
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var _ storage.Opener = Open

// Open connects to a server that u names. It implements storage.Opener.
func Open(ctx context.Context, u storage.URL, opt storage.Options) (storage.Storage, zodb.Tid, error) {
	cfg, err := Parse(u)
	if err != nil {
		return nil, 0, err
	}
	cfg.Poll = cmp.Or(opt.Poll, cfg.Poll)
	s, at0, err := remote.Open(ctx, remote.Config{
		URL: cfg.URL(), Dial: Dial(cfg), Timeout: opt.Timeout, Wait: opt.Wait, Options: opt,
	})
	if err != nil {
		return nil, 0, err
	}
	return s, at0, nil
}
