package client

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// maxPending bounds the requests without an answer that Resync has in progress.
// Servers bound them, too.
const maxPending = 64

// newStream returns the stream of a new request, whose answer goes to reply if
// that is not nil.
func (c *Conn) newStream(reply chan<- string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream == 0 {
		c.stream = 1
	} else {
		c.stream += 2
	}
	if reply != nil {
		c.pending[c.stream] = reply
	}
	return c.stream
}

// write sends a line. A line written by one call stays in one piece, whoever
// else writes.
func (c *Conn) write(stream uint64, msg string) error {
	line := []byte(frameLine(stream, msg))
	err := uninterrupted(func() error {
		_, err := unix.Write(c.fd, line)
		return err
	})
	if err != nil {
		return failed("write to head/watch", err)
	}
	return nil
}

// send sends a request. The answer comes to the returned channel, which holds it
// until it is taken.
func (c *Conn) send(msg string) (<-chan string, error) {
	reply := make(chan string, 1)
	stream := c.newStream(reply)
	if err := c.write(stream, msg); err != nil {
		c.mu.Lock()
		delete(c.pending, stream)
		c.mu.Unlock()
		return nil, err
	}
	return reply, nil
}

// wait waits for the answer to a request, which should be "ok".
func wait(ctx context.Context, request string, reply <-chan string) error {
	select {
	case text := <-reply:
		if text != "ok" {
			return &ServerError{Request: request, Text: text}
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: recvReply: %w", request, context.Cause(ctx))
	}
}

// sendWatch asks to watch a file at a view, or to move the watch there.
func (c *Conn) sendWatch(oid Oid, at Tid) (<-chan string, error) {
	return c.send(fmt.Sprintf("watch %s @%s", oid, at))
}

// unwatch asks not to watch a file any more, and waits until that is so.
func (c *Conn) unwatch(ctx context.Context, oid Oid) error {
	reply, err := c.send(fmt.Sprintf("watch %s -", oid))
	if err != nil {
		return err
	}
	return wait(ctx, "unwatch", reply)
}

// readLines hands answers to who waits for them, until the pinner ends. When it
// has given up by itself, the Conn is closed.
func (c *Conn) readLines(pipe *os.File) {
	defer pipe.Close()
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		line := lines.Bytes()
		if len(line) == 0 {
			c.close(c.failure())
			continue
		}
		stream, msg, _ := parseStream(line) // the pinner has checked it
		c.answer(stream, string(line[msg:]))
	}
	c.close(c.failure())
}

// answer handles a line that is no pin.
func (c *Conn) answer(stream uint64, msg string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stream == 0 {
		c.lastWord = msg
		return
	}
	if reply := c.pending[stream]; reply != nil {
		delete(c.pending, stream)
		reply <- msg
		return
	}
	c.close(fmt.Errorf("%w: answer to no request: %d", ErrProtocol, stream))
}
