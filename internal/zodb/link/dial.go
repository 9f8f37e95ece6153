package link

import (
	"context"
	"net"
	"time"
)

// Addr is an address as package net has it: network tcp or unix.
type Addr struct{ Network, Address string }

// TCP is an address of the form host:port.
func TCP(address string) Addr { return Addr{"tcp", address} }

// Unix is a socket of this host.
func Unix(path string) Addr { return Addr{"unix", path} }

func (a Addr) String() string { return a.Address }

// keepAlive has the kernel find out within 25 s that a peer is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// Connect makes a connection. The error is a *ConnectError.
func Connect(ctx context.Context, addr Addr) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	conn, err := dialer.DialContext(ctx, addr.Network, addr.Address)
	if deadline, ok := ctx.Deadline(); err != nil && ok && !time.Now().Before(deadline) {
		<-ctx.Done() // the dialer has the same deadline, and may be a moment earlier
	}
	if err != nil {
		return nil, &ConnectError{err}
	}
	return conn, nil
}

// ConnectError says that nothing could be said to a server yet.
type ConnectError struct{ Err error }

func (e *ConnectError) Error() string { return e.Err.Error() }
func (e *ConnectError) Unwrap() error { return e.Err }

// Greet connects and has greet say hello, until ctx ends. greet may not leave anything
// behind that uses the connection if it fails: the connection is closed then. The error
// is the cause of ctx if that has ended.
func Greet(ctx context.Context, addr Addr, greet func(raw net.Conn) error) (net.Conn, error) {
	conn, err := Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = greet(conn)
	if !stop() && err == nil { // the deadline stays, or is about to be set
		err = context.Cause(ctx)
	}
	if err == nil {
		return conn, nil
	}
	_ = conn.Close()
	if ctx.Err() != nil { // the error is only that of the deadline
		err = context.Cause(ctx)
	}
	return nil, err
}
