package client

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const oid, other Oid = 0x10, 0x20

// TestPins follows a file through pins, unpins, growth and the end.
func TestPins(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "abcd")
	f.setFile("@0000000000000003", oid, "ABC")
	file := f.opened(oid, 1)
	m, tail := mmap(t, file, 0, 6), mmap(t, file, 2, 3)
	require.Equal(t, "abcd..", letters(m))
	require.Equal(t, "cd.", letters(tail))
	f.say("2 pin %s #2 @%016x\n4 pin %s #3 @%016x", oid, 3, oid, 3)
	f.expect("2 ack")
	f.expect("4 ack")
	require.Equal(t, "abC...", letters(m), "a pinned block behind the end of the past file is zeros")
	require.Equal(t, "C..", letters(tail))
	require.Equal(t, "abC...", readLetters(t, file, 6))
	require.Equal(t, "C", letters(mmap(t, file, 2, 1)), "known pins go into new mappings")
	f.say("6 pin %s #2 @head", oid)
	f.expect("6 ack")
	require.Equal(t, "abc...", letters(m))
	f.say("8 pin %s #2 @%016x", other, 3) // of a file that is not open
	f.expect("8 ack")
	require.NoError(t, during(file.Close, func() {
		f.expect("3 watch %s -", oid)
		f.say("10 pin %s #1 @%016x", oid, 3) // on its way already
		f.expect("10 ack")
		f.say("3 ok")
	}))
	require.Equal(t, "!!!!!!", letters(m))
	f.closed(5)
	require.Equal(t, "!!!", letters(tail))
}

// TestGrowth: mappings before, across and behind the old end, and a pin in what
// is new that stays as it is.
func TestGrowth(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "ab")
	f.setFile("@0000000000000004", oid, "ABCD")
	file := f.opened(oid, 1)
	maps := []*Mapping{mmap(t, file, 0, 1), mmap(t, file, 1, 3), mmap(t, file, 3, 2), mmap(t, file, 9, 1)}
	show := func() (all []string) {
		for _, m := range maps {
			all = append(all, letters(m))
		}
		return all
	}
	require.Equal(t, []string{"a", "b..", "..", "."}, show())
	f.setFile("head", oid, "abcdef")
	f.setHead(6)
	f.say("2 pin %s #3 @%016x", oid, 4)
	f.expect("2 ack")
	require.Equal(t, []string{"a", "b.D", "D.", "."}, show())
	require.NoError(t, during(func() error { return f.c.Resync(t.Context(), 6) }, func() {
		f.expect("3 watch %s @%016x", oid, 6)
		f.say("3 ok")
	}))
	require.Equal(t, Tid(6), f.c.At())
	require.Equal(t, []string{"a", "bcD", "De", "."}, show())
	require.Equal(t, "abcDef.", readLetters(t, file, 7))
	f.closed(5)
}

// TestShrink: blocks that head/ has no more are taken from the view, until the
// Conn is where they are gone.
func TestShrink(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "ab")
	f.setFile("@0000000000000005", oid, "abc")
	f.setHead(6)
	file := f.opened(oid, 1)
	m := mmap(t, file, 0, 4)
	require.Equal(t, "abc.", letters(m))
	require.Equal(t, "abc.", readLetters(t, file, 4))
	size, err := file.Size(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3*page, size)
	f.setFile("head", oid, "a")
	f.setFile("@0000000000000006", oid, "ab")
	f.setHead(7)
	require.NoError(t, during(func() error { return f.c.Resync(t.Context(), 6) }, func() {
		f.expect("3 watch %s @%016x", oid, 6)
		f.say("3 ok")
	}))
	require.Equal(t, "ab..", letters(m))
	require.NoError(t, during(func() error { return f.c.Resync(t.Context(), Head) }, func() {
		f.expect("5 watch %s @%016x", oid, 7)
		f.say("5 ok")
	}))
	require.Equal(t, "a...", letters(m))
	f.closed(7)
}

// TestManyPins makes the tables grow.
func TestManyPins(t *testing.T) {
	const n = 3000
	f := newFake(t, 5)
	f.setFile("head", oid, "abc")
	f.setFile("@0000000000000003", oid, "ABC")
	file := f.opened(oid, 1)
	var maps []*Mapping
	for range 600 {
		maps = append(maps, mmap(t, file, 1, 1))
	}
	large := mmap(t, file, 0, 1<<20)
	for i := range n {
		f.say("%d pin %s #%d @%016x", 2*i+2, oid, i, 3)
		f.expect("%d ack", 2*i+2)
	}
	for _, m := range maps {
		require.Equal(t, "B", letters(m))
	}
	require.NoError(t, large.Unmap())
	require.Equal(t, "BC.", letters(mmap(t, file, 1, 3)))
	require.Equal(t, "ABC.", letters(mmap(t, file, 0, 4)))
	big := mmap(t, file, 0, 1<<20) // has more blocks than there are pins
	require.NoError(t, big.View(func(data []byte) error {
		require.Equal(t, byte('C'), data[2*page])
		return nil
	}))
	for i := range n {
		f.say("%d pin %s #%d @head", 2*(n+i)+2, oid, i)
		f.expect("%d ack", 2*(n+i)+2)
	}
	require.Equal(t, "bc.", letters(mmap(t, file, 1, 3)))
	f.closed(3)
}

// TestFailures: what a server may do wrong closes the Conn with the right error,
// and pins are answered so that nobody is killed.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name string
		say  string
		ack  string
		want error
	}{
		{"no number", "zzz hello", "", ErrProtocol},
		{"no space", "zzz", "", ErrProtocol},
		{"not a pin", "2 hello", "2 ack", ErrProtocol},
		{"bad block", "2 pin 0000000000000010 #01 @head", "2 ack", ErrProtocol},
		{"no such view", "2 pin 0000000000000010 #1 @0000000000000002", "2 ack", ErrPin},
		{"answer to nothing", "33 ok", "", ErrProtocol},
		{"end", "", "", ErrDown},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, 5)
			f.setFile("head", oid, "abc")
			file := f.opened(oid, 1)
			m := mmap(t, file, 0, 3)
			if c.say == "" {
				f.say("0 fatal: so it is")
				f.peer.Close()
			} else {
				f.say("%s", c.say)
				said := []string{f.line()} // in any order: two speak
				if c.ack != "" {
					said = append(said, f.line())
					require.Contains(t, said, c.ack)
				}
				require.Contains(t, said, "3 bye")
				f.peer.Close()
			}
			<-f.c.ended
			require.Equal(t, "!!!", letters(m))
			_, err := f.c.Open(t.Context(), oid)
			require.ErrorIs(t, err, ErrClosed)
			require.ErrorIs(t, err, c.want)
			if c.say == "" {
				require.ErrorContains(t, err, "fatal: so it is")
			}
			_, err = file.ReadAt(make([]byte, 10), 0)
			require.ErrorIs(t, err, c.want)
			require.ErrorIs(t, file.Close(), nil)
			require.NoError(t, f.c.Close())
		})
	}
}

// TestRefusedWatch: the file can be opened again afterwards.
func TestRefusedWatch(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "abc")
	err := during(func() error { _, err := f.c.Open(t.Context(), oid); return err }, func() {
		f.expect("1 watch %s @%016x", oid, 5)
		f.say("1 error too far away back")
		f.expect("3 watch %s -", oid)
		f.say("3 ok")
	})
	var refused *ServerError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "error too far away back", refused.Text)
	f.opened(oid, 5)
	f.closed(7)
}

// TestCancelledOpen: another watch of the file is only asked for when the first
// is surely gone.
func TestCancelledOpen(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "abc")
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, during(func() error { _, err := f.c.Open(ctx, oid); return err }, func() {
		f.expect("1 watch %s @%016x", oid, 5)
		cancel()
	}), context.Canceled)
	f.expect("3 watch %s -", oid)
	require.Equal(t, "abc", during(func() string {
		file, err := f.c.Open(t.Context(), oid)
		require.NoError(t, err)
		return letters(mmap(t, file, 0, 3))
	}, func() {
		time.Sleep(10 * time.Millisecond) // it must not ask yet
		f.say("1 ok\n3 ok")
		f.expect("5 watch %s @%016x", oid, 5)
		f.say("5 ok")
	}))
	f.closed(7)
}

// TestCloseInterrupts: Close does not wait for a server that does not answer,
// and neither do calls in progress.
func TestCloseInterrupts(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "abc")
	require.ErrorIs(t, during(func() error { _, err := f.c.Open(t.Context(), oid); return err }, func() {
		f.expect("1 watch %s @%016x", oid, 5)
		f.closed(3)
	}), ErrClosed)
	require.ErrorIs(t, f.c.Resync(t.Context(), 6), ErrClosed)
}

// TestGoingBack closes the Conn.
func TestGoingBack(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "abc")
	m := mmap(t, f.opened(oid, 1), 0, 3)
	err := during(func() error {
		err := f.c.Resync(t.Context(), 4)
		require.Equal(t, "!!!", letters(m))
		return err
	}, func() {
		f.expect("3 bye")
		f.peer.Close()
	})
	require.ErrorIs(t, err, ErrGoingBack)
	_, err = f.c.Open(t.Context(), oid)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, err, ErrGoingBack)
}

// TestFilesOfOneOid share a watch.
func TestFilesOfOneOid(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "abc")
	a := f.opened(oid, 1)
	b, err := f.c.Open(t.Context(), oid)
	require.NoError(t, err)
	ma, mb := mmap(t, a, 0, 3), mmap(t, b, 1, 3)
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	_, err = a.Mmap(t.Context(), 0, 1)
	require.ErrorIs(t, err, ErrFileClosed)
	require.Equal(t, "abc", letters(ma))
	require.NoError(t, during(b.Close, func() {
		f.expect("3 watch %s -", oid)
		f.say("3 ok")
	}))
	require.Equal(t, "!!!", letters(ma))
	require.Equal(t, "!!!", letters(mb))
	require.Equal(t, "abc", letters(mmap(t, f.opened(oid, 5), 0, 3)))
	require.Equal(t, "!!!", letters(ma))
	require.NoError(t, ma.Load(t.Context(), 0, 0))
	var fault *FaultError
	require.ErrorAs(t, ma.Load(t.Context(), 0, 1), &fault)
	f.closed(7)
}
