package wire

import (
	"bytes"
	"fmt"
)

// MaxLine bounds a line of a client, with its end. The longest valid one has 63 bytes.
const MaxLine = 1024

// Input is the bytes of a line from a client that is not complete.
type Input []byte

// Take takes in bytes, and returns the lines that are complete with them. A line that is
// too long is an error, which the client is told after the lines before it.
func (in *Input) Take(data []byte) (lines []string, err error) {
	rest := append(*in, data...)
	for {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 || n > MaxLine {
			break
		}
		lines = append(lines, string(rest[:n]))
		rest = rest[n:]
	}
	if len(rest) > MaxLine {
		err = fmt.Errorf("invalid frame: the line is longer than %d bytes", MaxLine)
	}
	*in = append((*in)[:0:0], rest[:min(len(rest), MaxLine)]...)
	return lines, err
}
