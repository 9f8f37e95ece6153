package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// page is the size of blocks in tests: what stat tells of files of a directory.
const page = 4096

// fake is a directory that looks like a mount, and the server side of a link.
type fake struct {
	t    *testing.T
	dir  string
	w    *WCFS
	c    *Conn
	peer *os.File
	in   *bufio.Reader
}

// newFake returns a fake with head/at, and a Conn at that view.
func newFake(t *testing.T, at Tid) *fake {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	f := &fake{t: t, dir: t.TempDir()}
	f.write(".wcfs/zurl", "file:///data.fs")
	f.setHead(at)
	dir, err := open(unix.AT_FDCWD, f.dir, unix.O_PATH|unix.O_DIRECTORY)
	require.NoError(t, err)
	f.w, err = joinDir(f.dir, dir)
	require.NoError(t, err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(pair[1], true)) // for deadlines
	f.peer = os.NewFile(uintptr(pair[1]), "server")
	f.in = bufio.NewReader(f.peer)
	f.c, err = newConn(f.w, pair[0], at)
	require.NoError(t, err)
	t.Cleanup(func() {
		f.peer.Close()
		require.NoError(t, f.w.Close())
	})
	return f
}

func (f *fake) write(path, content string) {
	f.t.Helper()
	path = filepath.Join(f.dir, path)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(content), 0o644))
}

func (f *fake) setHead(at Tid) { f.write("head/at", at.String()) }

// setFile makes blocks the content of a file in a view; each is full of a letter.
func (f *fake) setFile(view string, oid Oid, blocks string) {
	f.t.Helper()
	var content strings.Builder
	for _, letter := range blocks {
		content.WriteString(strings.Repeat(string(letter), page))
	}
	f.write(view+"/bigfile/"+oid.String(), content.String())
}

// line returns the next line of the client.
func (f *fake) line() string {
	f.t.Helper()
	require.NoError(f.t, f.peer.SetReadDeadline(time.Now().Add(10*time.Second)))
	line, err := f.in.ReadString('\n')
	require.NoError(f.t, err)
	return strings.TrimSuffix(line, "\n")
}

// expect requires that the client sends a line next.
func (f *fake) expect(format string, args ...any) {
	f.t.Helper()
	require.Equal(f.t, fmt.Sprintf(format, args...), f.line())
}

// say sends lines to the client.
func (f *fake) say(format string, args ...any) {
	f.t.Helper()
	_, err := fmt.Fprintf(f.peer, format+"\n", args...)
	require.NoError(f.t, err)
}

// during runs f1, which makes requests, while the server does f2.
func during[T any](f1 func() T, f2 func()) T {
	done := make(chan T, 1)
	go func() { done <- f1() }()
	f2()
	return <-done
}

// opened opens a file.
func (f *fake) opened(oid Oid, stream int) *File {
	f.t.Helper()
	return during(func() *File {
		file, err := f.c.Open(f.t.Context(), oid)
		require.NoError(f.t, err)
		return file
	}, func() {
		f.expect("%d watch %s @%s", stream, oid, f.c.At())
		f.say("%d ok", stream)
	})
}

// closed closes the Conn.
func (f *fake) closed(stream int) {
	f.t.Helper()
	require.NoError(f.t, during(f.c.Close, func() {
		f.expect("%d bye", stream)
		f.peer.Close()
	}))
}

// letters returns what a mapping shows: a letter for each block, "." for zeros,
// "!" for a fault.
func letters(m *Mapping) string {
	var text strings.Builder
	for blk := m.start; blk < m.stop; blk++ {
		letter := byte('!')
		_ = m.View(func(data []byte) error {
			block := data[(blk-m.start)*m.blksize:][:m.blksize]
			if !bytes.Equal(block, bytes.Repeat(block[:1], len(block))) {
				letter = '?'
			} else if letter = block[0]; letter == 0 {
				letter = '.'
			}
			return nil
		})
		text.WriteByte(letter)
	}
	return text.String()
}

// readLetters is letters of what ReadAt returns for the first n blocks.
func readLetters(t *testing.T, file *File, n int) string {
	t.Helper()
	data := make([]byte, n*page)
	got, err := file.ReadAt(data, 0)
	require.NoError(t, err)
	require.Equal(t, len(data), got)
	var text strings.Builder
	for i := range n {
		text.WriteByte(max(data[i*page], '.'))
		require.Equal(t, bytes.Repeat(data[i*page:][:1], page), data[i*page:][:page])
	}
	return text.String()
}

// mmap maps blocks, and unmaps them when the test ends.
func mmap(t *testing.T, file *File, start, count int64) *Mapping {
	t.Helper()
	m, err := file.Mmap(context.Background(), start, count)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Unmap()) })
	return m
}
