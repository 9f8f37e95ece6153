package zwrite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// ClientOptions says how to write to a database behind a server.
type ClientOptions struct {
	// Wait is how long Connect waits for a server that is not there.
	Wait time.Duration

	// Waiting, if not nil, is called every second while the server does not answer to a
	// commit: it may be busy with that, or with somebody else's.
	Waiting func()
}

// Client is a database behind a server, to be written to as any application does. It
// implements Store. Nobody is kept from writing meanwhile: who was first is, and the
// other one gets a *ConflictError.
type Client struct {
	dial remote.DialWriter
	opt  ClientOptions
	turn chan struct{} // whoever put something into it may use what follows
	w    remote.Writer // nil if it is closed
}

// redialPause is how long there is nothing between two attempts to connect.
const redialPause = time.Second

// Connect connects to a server. Errors are those of dial.
func Connect(ctx context.Context, dial remote.DialWriter, opt ClientOptions) (*Client, error) {
	if opt.Waiting == nil {
		opt.Waiting = func() {}
	}
	c := &Client{dial: dial, opt: opt, turn: make(chan struct{}, 1)}
	var err error
	c.w, err = c.connect(ctx, opt.Wait)
	return c, err
}

// connect tries to connect for a while.
func (c *Client) connect(ctx context.Context, wait time.Duration) (remote.Writer, error) {
	for deadline := time.Now().Add(wait); ; {
		w, err := c.dial(ctx)
		var openErr *storage.OpenError
		if err == nil || !errors.As(err, &openErr) || openErr.Reason != fault.Unreachable ||
			errors.Is(err, remote.ErrReadOnly) || !time.Now().Before(deadline) {
			return w, err
		}
		select {
		case <-time.After(redialPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Begin begins a transaction, when the previous one of this Client has ended. It sees the
// database as it is now. ctx is for all of the transaction: when it ends, what is under
// way fails with its error, and the server hears that nothing is to be committed.
//
// Errors: that of ctx, ErrClosed, *LostError, those of meta.
func (c *Client) Begin(ctx context.Context, meta Meta) (*Txn, error) {
	err := meta.check()
	if err == nil && meta.Tid != 0 {
		err = errors.New("a server chooses the tid")
	}
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("begin: wait for the transaction in progress: %w", ctx.Err())
	}
	f, err := c.begin(ctx, meta)
	if err != nil {
		<-c.turn
		return nil, fmt.Errorf("begin: %w", err)
	}
	return newTxn(f), nil
}

// Close closes the connection. It fails with ErrBusy while there is a transaction.
// Closing a closed Client does nothing.
func (c *Client) Close() error {
	select {
	case c.turn <- struct{}{}:
	default:
		return fmt.Errorf("close: %w", ErrBusy)
	}
	defer func() { <-c.turn }()
	if c.w == nil {
		return nil
	}
	err := c.w.Close()
	c.w = nil
	return err
}
