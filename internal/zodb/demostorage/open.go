package demostorage

import (
	"context"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Opener returns what opens urls demo:(base)/(delta), whose parts are opened by drivers.
// These may have it among them, for parts that are of this kind themselves.
func Opener(drivers storage.Drivers) storage.Opener {
	return func(ctx context.Context, u storage.URL, opt storage.Options) (storage.Storage, zodb.Tid, error) {
		// A wrong url is told before anything is opened.
		baseURL, deltaURL, err := split(u)
		if err != nil {
			return nil, 0, err
		}
		base, frozen, err := openPart(ctx, drivers, baseURL, opt)
		if err != nil {
			return nil, 0, openError(u, "base", err)
		}
		delta, deltaHead, err := openPart(ctx, drivers, deltaURL, opt)
		if err != nil {
			return nil, 0, errors.Join(openError(u, "delta", err), base.Close())
		}
		if err := checkDelta(ctx, u, base, delta, frozen); err != nil {
			return nil, 0, errors.Join(err, delta.Close(), base.Close())
		}
		return newStorage(base, delta, frozen, opt), max(frozen, deltaHead), nil
	}
}

// part is a base or a delta.
type part interface {
	storage.Storage
	storage.Iterator
}

func openPart(ctx context.Context, drivers storage.Drivers, u storage.URL, opt storage.Options) (part, zodb.Tid, error) {
	store, head, err := drivers.Open(ctx, u.Raw, opt)
	if err != nil {
		return nil, 0, err
	}
	p, ok := store.(part)
	if !ok {
		err := &storage.OpenError{Reason: fault.UnknownScheme, URL: storage.Redact(u.Raw),
			Msg: "cannot list its transactions, which a database over another one needs"}
		return nil, 0, errors.Join(err, store.Close())
	}
	return p, head, nil
}

// openError says which part of u could not be opened.
func openError(u storage.URL, name string, err error) error {
	var open *storage.OpenError
	if !errors.As(err, &open) {
		return fmt.Errorf("open %s: %s: %w", storage.Redact(u.Raw), name, err)
	}
	return &storage.OpenError{Reason: open.Reason, URL: storage.Redact(u.Raw),
		Msg: fmt.Sprintf("its %s, %s, %s", name, open.URL, open.Msg), Hint: open.Hint, Err: err}
}

// checkDelta refuses a delta that was not made over what base is now.
func checkDelta(ctx context.Context, u storage.URL, base, delta part, frozen zodb.Tid) error {
	found := errors.New("found")
	var foreign zodb.Tid
	err := delta.Iterate(ctx, 0, frozen, func(txn *storage.Txn) error {
		foreign = txn.Tid
		return found
	})
	switch {
	case err == nil:
		return nil
	case err != found:
		return openError(u, "delta", fmt.Errorf("look for its first transaction: %w", err))
	}
	return &storage.OpenError{Reason: fault.NotADatabase, URL: storage.Redact(u.Raw),
		Msg: fmt.Sprintf("its delta, %s, has transaction @%s, which is not after the last one of its base, @%s: it was made over another database, or the base has gone on since",
			delta.URL(), foreign, frozen),
		Hint: "use the base as it was when the delta was begun, or have the application begin a new delta"}
}
