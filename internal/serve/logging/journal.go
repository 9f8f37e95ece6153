package logging

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxJournalLine is how long a line may be before it is passed on in parts, in
// bytes; the journal itself cuts lines at this length.
const maxJournalLine = 48 << 10

// priorities are those of syslog, by the letter that a line of glog begins with.
var priorities = map[byte]byte{'I': '6', 'W': '4', 'E': '3', 'F': '2'}

// isJournal reports whether f is connected to the journal: stream is what systemd
// says of that in $JOURNAL_STREAM.
func isJournal(f *os.File, stream string) bool {
	var st unix.Stat_t
	if stream == "" || unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journal passes lines of glog on in the form the journal likes: with a priority,
// and without the time and the thread, which it knows itself. A line that is not
// of glog belongs to the one before.
type journal struct {
	out      io.Writer
	priority byte
	rest     []byte // of a line that is not complete
}

func newJournal(out io.Writer) *journal { return &journal{out: out, priority: priorities['I']} }

// Write takes any part of the log. Its error is that of out.
func (j *journal) Write(data []byte) (int, error) {
	j.rest = append(j.rest, data...)
	var lines []byte
	for {
		n := bytes.IndexByte(j.rest, '\n') + 1
		if n == 0 && len(j.rest) < maxJournalLine {
			break
		}
		if n == 0 || n > maxJournalLine {
			n = maxJournalLine
		}
		lines = j.appendLine(lines, j.rest[:n])
		j.rest = j.rest[n:]
	}
	j.rest = bytes.Clone(j.rest)
	if len(lines) == 0 {
		return len(data), nil
	}
	if _, err := j.out.Write(lines); err != nil {
		return 0, err
	}
	return len(data), nil
}

// Flush passes on what is there of a line.
func (j *journal) Flush() error {
	if len(j.rest) == 0 {
		return nil
	}
	line := j.appendLine(nil, j.rest)
	j.rest = nil
	_, err := j.out.Write(line)
	return err
}

func (j *journal) appendLine(lines, line []byte) []byte {
	if letter, message, ok := cutGlog(line); ok {
		j.priority, line = priorities[letter], message
	}
	lines = append(lines, '<', j.priority, '>')
	lines = append(lines, bytes.TrimSuffix(line, []byte("\n"))...)
	return append(lines, '\n')
}

// cutGlog takes the letter, the time and the thread off a line of glog, as in
// "I0102 15:04:05.000000    4711 file.go:12] message".
func cutGlog(line []byte) (letter byte, message []byte, ok bool) {
	const shape = "I0102 15:04:05.000000 "
	if len(line) < len(shape) || priorities[line[0]] == 0 {
		return 0, nil, false
	}
	for i := 1; i < len(shape); i++ {
		digit := shape[i] >= '0' && shape[i] <= '9'
		if digit != (line[i] >= '0' && line[i] <= '9') || !digit && line[i] != shape[i] {
			return 0, nil, false
		}
	}
	message = bytes.TrimLeft(line[len(shape):], " ")
	message = bytes.TrimLeft(message, "0123456789")
	return line[0], bytes.TrimPrefix(message, []byte(" ")), true
}
