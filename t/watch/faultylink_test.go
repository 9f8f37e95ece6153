package watch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// linkScene is a file with two commits, both blocks of which were read, and one
// good client that must notice nothing of the bad ones.
func linkScene(t *testing.T) *harness.Scene {
	sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	sc.Commit(1, 2)
	sc.Commit(1, 2)
	sc.Map(3)
	sc.Read(1, 2)
	sc.Watching(sc.At[1], harness.Pins{1: sc.At[1], 2: sc.At[1]})
	return sc
}

// requireNoFault requires that nobody noticed anything, and nobody was killed.
func requireNoFault(sc *harness.Scene) {
	sc.T.Helper()
	requireOneLinkLess(sc)
	require.Zero(sc.T, sc.Server.Stats()["pinkill"], sc.Server.Log())
	afterwards(sc)
}

// TestBadLinesEndTheLink: the client is told once
// why, then the link ends. No process is killed, since no pin was under way.
func TestBadLinesEndTheLink(t *testing.T) {
	t.Parallel()
	sc := linkScene(t)
	for text, want := range map[string]string{
		"zzz hello\n":                            `0 error: invalid frame: "zzz hello\n" (invalid stream)`,
		"hello\n":                                `0 error: invalid frame: "hello\n"`,
		"\n":                                     `0 error: invalid frame: "\n"`,
		" \n":                                    `0 error: invalid frame: " \n" (invalid stream)`,
		" 1 bye\n":                               `0 error: invalid frame: " 1 bye\n" (invalid stream)`,
		"1\tbye\n":                               `0 error: invalid frame: "1\tbye\n"`,
		"-1 x\n":                                 `0 error: invalid frame: "-1 x\n" (invalid stream)`,
		"+1 x\n":                                 `0 error: invalid frame: "+1 x\n" (invalid stream)`,
		"0x1 x\n":                                `0 error: invalid frame: "0x1 x\n" (invalid stream)`,
		"1_1 x\n":                                `0 error: invalid frame: "1_1 x\n" (invalid stream)`,
		"18446744073709551616 x\n":               `0 error: invalid frame: "18446744073709551616 x\n" (invalid stream)`,
		"\x00\x00\x00\n":                         `0 error: invalid frame: "\x00\x00\x00\n"`,
		"\xff\xfe \x80\n":                        `0 error: invalid frame: "\xff\xfe \x80\n" (invalid stream)`,
		"2 ack\n":                                `0 error: 2: reply on unexpected stream`,
		"18446744073709551614 ack\n":             `0 error: 18446744073709551614: reply on unexpected stream`,
		"0 bye\n":                                `0 error: 0: reply on unexpected stream`,
		"zzz hello\nzzz world\n" + "1 x\n":       `0 error: invalid frame: "zzz hello\n" (invalid stream)`,
		strings.Repeat("z", 200) + " a\n":        cutMessage(`0 error: invalid frame: "` + strings.Repeat("z", 200) + ` a\n" (invalid stream)`),
		strings.Repeat("z", 600) + "\n":          cutMessage(`0 error: invalid frame: "` + strings.Repeat("z", 600)),
		strings.Repeat("\x00", 300) + "\n":       "",
		"1 " + strings.Repeat("watch ", 200000):  "",
		strings.Repeat("x", 1<<20):               "",
		strings.Repeat("1 x\x00", 300000) + "\n": "",
		"1 " + strings.Repeat("\u2028", 1<<18):   "",
		strings.Repeat("\x00", 1<<20) + "\n2 ack": "",
	} {
		f := sc.Server.Faulty()
		if answer := f.Ask(fmt.Sprintf("write %q", text)); answer != "ok" {
			require.Equal(t, "ECONNRESET", answer, "%.40q", text)
		}
		line := f.Read()
		require.LessOrEqual(t, len(line), 246+2)
		if want != "" {
			require.Equal(t, want, line)
		} else {
			require.True(t, strings.HasPrefix(line, "0 error: invalid frame: "), line)
		}
		require.Equal(t, "EOF", f.Read(), "%.40q", text)
		require.Equal(t, "EOF", f.Read(), "again")
		require.Equal(t, "ECONNRESET", f.Ask(`write "1 x\n"`))
		f.RequireAlive()
		require.Zero(t, f.Wait())
	}
	requireNoFault(sc)
}

// cutMessage returns a line whose message is cut to what clients accept.
func cutMessage(line string) string {
	stream, msg, _ := strings.Cut(line, " ")
	if len(msg) <= 246 {
		return line
	}
	return stream + " " + msg[:243] + "..."
}

// TestOddNumbersAreStreams: any odd number may be a request, twice too.
func TestOddNumbersAreStreams(t *testing.T) {
	t.Parallel()
	sc := linkScene(t)
	f := sc.Server.Faulty()
	for _, stream := range []string{"18446744073709551615", "7", "7", "3", "1"} {
		f.Write(stream + " " + harness.WatchRequest(sc.File.Oid, sc.At[2]) + "\n")
		require.Equal(t, stream+" ok", f.Read())
	}
	f.Write("9 bye\n11 bye\nzzz\n")
	require.Equal(t, "EOF", f.Read())
	require.Zero(t, f.Wait())
	requireNoFault(sc)
}

// TestFramesMayComeInPieces writes byte by byte, and much at a time.
func TestFramesMayComeInPieces(t *testing.T) {
	t.Parallel()
	sc := linkScene(t)
	f := sc.Server.Faulty()
	for i, at := range sc.At[1:] {
		for _, b := range fmt.Sprintf("%d %s\n", 2*i+1, harness.WatchRequest(sc.File.Oid, at)) {
			f.Write(string(b))
		}
		if i == 0 {
			streams := []string{strings.Fields(f.Read())[0], strings.Fields(f.Read())[0]}
			require.ElementsMatch(t, []string{"2", "4"}, streams)
			for _, b := range "4 ack\n2 ack\n" {
				f.Write(string(b))
			}
			require.Equal(t, "1 ok", f.Read())
		}
	}
	for _, stream := range []string{"6", "8"} {
		require.True(t, strings.HasSuffix(f.Read(), "@head"))
		f.Write(stream + " ack\n")
	}
	require.Equal(t, "3 ok", f.Read())
	f.Write("5 a\n7 b\n9 c")
	f.Write("\n11 bye\n")
	got := ""
	for line := f.Read(); line != "EOF"; line = f.Read() {
		got += strings.Fields(line)[0] + " "
	}
	t.Logf("replies before the end: %s", got)
	require.Zero(t, f.Wait())
	requireNoFault(sc)
}

// TestAcksThatWereNotAskedForEndTheLink: acknowledging twice, and before the
// pin. Nobody is killed for what it says after all pins are acknowledged.
func TestAcksThatWereNotAskedForEndTheLink(t *testing.T) {
	t.Parallel()
	sc := linkScene(t)
	f := sc.Server.Faulty()
	f.Write("1 " + harness.WatchRequest(sc.File.Oid, sc.At[1]) + "\n")
	f.Read()
	f.Read()
	f.Write("2 ack\n4 ack\n")
	require.Equal(t, "1 ok", f.Read())
	f.Write("2 ack\n")
	require.Equal(t, "0 error: 2: reply on unexpected stream", f.Read())
	require.Equal(t, "EOF", f.Read())
	f.RequireAlive()
	require.Zero(t, f.Wait())
	requireNoFault(sc)
}

// TestBadFrameDuringAPinIsFatal: the link ends with a pin that is not
// acknowledged, and the client goes on.
func TestBadFrameDuringAPinIsFatal(t *testing.T) {
	t.Parallel()
	sc := linkScene(t)
	f := sc.Server.Faulty()
	f.Write("1 " + harness.WatchRequest(sc.File.Oid, sc.At[1]) + "\n")
	f.Read()
	f.Started = time.Now()
	f.Refuse("zzz\n")
	harness.Until(t, "the client has ended", func() bool { return harness.HasEnded(f.Pid) })
	require.Less(t, time.Since(f.Started), 2*pinTimeout)
	requireOneLinkLess(sc)
	require.Equal(t, 1, sc.Server.Stats()["pinkill"])
	afterwards(sc)
}

// TestPinFailureIsTold: the last message says which pin failed and why. It is
// read by this process, which is not the client.
func TestPinFailureIsTold(t *testing.T) {
	t.Parallel()
	for reply, cause := range map[string]string{
		"nak: no":                 `expect "ack"; got "nak: no"`,
		strings.Repeat("no", 300): `expect "ack"; got "` + strings.Repeat("no", 300) + `"`,
		"":                        "sendReq: waiting for reply: context deadline exceeded",
	} {
		sc := linkScene(t)
		f := sc.Server.Faulty()
		fd := borrow(f)
		f.Write("1 " + harness.WatchRequest(sc.File.Oid, sc.At[1]) + "\n")
		lines := []string{readLine(t, fd), readLine(t, fd)}
		slices.Sort(lines) // they may come in any order
		blk := lines[0][len("2 pin 0000000000000001 #"):][:1]
		if reply != "" {
			f.Refuse("2 " + reply + "\n")
		}
		got := readLine(t, fd)
		if reply == "" && strings.Contains(got, " #"+string('1'+'2'-blk[0])+" ") {
			blk = string('1' + '2' - blk[0]) // either of the two
		}
		cause := fmt.Sprintf("pin #%s @%s: %s", blk, sc.At[1], cause)
		require.Equal(t, cutMessage("0 fatal: "+cause), got)
		require.Equal(t, "", readLine(t, fd), "the end")
		unix.Close(fd)
		requireEnded(t, f.Helper)
		requireOneLinkLess(sc)
		require.Contains(t, logOf(sc.Server, f.Pid), cause+"\n")
		require.Equal(t, 1, sc.Server.Stats()["pinkill"])
		afterwards(sc)
	}
}

// borrow returns a descriptor of the client's link in this process.
func borrow(f *harness.Faulty) int {
	f.T.Helper()
	pidfd, err := unix.PidfdOpen(f.Pid, 0)
	require.NoError(f.T, err)
	defer unix.Close(pidfd)
	theirs, err := strconv.Atoi(f.Ask("fd"))
	require.NoError(f.T, err)
	fd, err := unix.PidfdGetfd(pidfd, theirs, 0)
	if err == unix.EPERM {
		f.T.Skip("reading what another process is told is not permitted here")
	}
	require.NoError(f.T, err)
	return fd
}

// readLine reads a line, byte by byte, and returns it without its end; "" at the
// end of the stream.
func readLine(t testing.TB, fd int) string {
	t.Helper()
	line, b := "", make([]byte, 1)
	for {
		n := 0
		require.NoError(t, harness.Uninterrupted(func() (err error) { n, err = unix.Read(fd, b); return err }))
		if n == 0 || b[0] == '\n' {
			return line
		}
		line += string(b)
	}
}

// TestManyRequestsWithoutReadingReplies writes 10^5 requests, good and bad ones,
// in large pieces. The server must neither keep them all, nor let others wait.
func TestManyRequestsWithoutReadingReplies(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]func(sc *harness.Scene) string{
		"good":   func(sc *harness.Scene) string { return "1 " + harness.WatchRequest(sc.File.Oid, sc.At[2]) + "\n" },
		"bad":    func(sc *harness.Scene) string { return "1 " + strings.Repeat("x", 40) + "\n" },
		"short":  func(sc *harness.Scene) string { return "1 \n" },
		"future": func(sc *harness.Scene) string { return "1 " + harness.WatchRequest(sc.File.Oid+1, 1<<63) + "\n" },
		"broken": func(sc *harness.Scene) string { return "\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := linkScene(t)
			before := sc.Server.RSS()
			f := sc.Server.Faulty()
			text := strings.Repeat(request(sc), 100000)
			f.Tell("write " + strconv.Quote(text))
			longest := time.Duration(0)
			for done := false; !done; {
				if longest > pinTimeout {
					break
				}
				start := time.Now()
				sc.Watchers[0].Barrier() // as any acknowledgement, it waits for all writes
				longest = max(longest, time.Since(start))
				select {
				case answer := <-f.Lines:
					require.Contains(t, []string{"ok", "ECONNRESET"}, answer)
					done = true
				default:
				}
			}
			t.Logf("another client waited for up to %s; memory grew by %d KiB", longest, (sc.Server.RSS()-before)>>10)
			require.Less(t, longest, pinTimeout/2, "a good client would be killed since others write")
			require.Less(t, sc.Server.RSS()-before, int64(100<<20))
			require.Less(t, len(sc.Server.Log()), 1<<20, "the log is flooded")
			f.RequireAlive()
			require.Zero(t, f.Wait())
			requireNoFault(sc)
		})
	}
}
