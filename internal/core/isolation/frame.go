package isolation

import (
	"fmt"
	"strconv"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// maxLine bounds a line of a client, with its end. The longest valid one
	// has 63 bytes.
	maxLine = 1024

	// maxMessage bounds a message to a client: existing clients drop the link
	// when it is longer.
	maxMessage = 246
)

// frame is one line without its end.
type frame struct {
	stream uint64
	msg    string
}

// parseFrame parses a line with its end. The error is what the client is told.
func parseFrame(line string) (frame, error) {
	number, msg, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if !ok {
		return frame{}, fmt.Errorf("invalid frame: %q", line)
	}
	stream, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return frame{}, fmt.Errorf("invalid frame: %q (invalid stream)", line)
	}
	return frame{stream, msg}, nil
}

// line returns f as a line. A message that is too long is cut.
func (f frame) line() string {
	msg := f.msg
	if len(msg) > maxMessage {
		msg = strings.ToValidUTF8(msg[:maxMessage-3], "") + "..."
	}
	return fmt.Sprintf("%d %s\n", f.stream, strings.ReplaceAll(msg, "\n", " "))
}

// watchRequest is "watch <oid> @<at>", or "watch <oid> -".
type watchRequest struct {
	oid    zodb.Oid
	at     zodb.Tid // all ones if remove
	remove bool
}

// parseWatch parses a request. The error is what the client is told.
func parseWatch(msg string) (r watchRequest, err error) {
	rest, ok := strings.CutPrefix(msg, "watch ")
	if !ok {
		return r, fmt.Errorf("bad watch: not a watch request: %q", msg)
	}
	args := strings.Split(rest, " ")
	if len(args) != 2 {
		return r, fmt.Errorf("bad watch: expected 2 arguments, got %d", len(args))
	}
	oid, ok := storage.ParseID(args[0])
	if !ok {
		return r, fmt.Errorf("bad watch: invalid oid")
	}
	if args[1] == "-" {
		return watchRequest{zodb.Oid(oid), zodb.InvalidTid, true}, nil
	}
	at, ok := strings.CutPrefix(args[1], "@")
	tid, ok2 := storage.ParseID(at)
	if !ok || !ok2 {
		return r, fmt.Errorf("bad watch: invalid at")
	}
	return watchRequest{oid: zodb.Oid(oid), at: zodb.Tid(tid)}, nil
}
