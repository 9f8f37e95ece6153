package wire

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

func TestFramesAreParsed(t *testing.T) {
	for line, want := range map[string]Frame{
		"1 x\n":                      {1, "x"},
		"1 \n":                       {1, ""},
		"1  x y \n":                  {1, " x y "},
		"007 x\n":                    {7, "x"},
		"0 x\n":                      {0, "x"},
		"18446744073709551615 bye\n": {math.MaxUint64, "bye"},
		"2 a\x00\xff\r\n":            {2, "a\x00\xff\r"},
	} {
		f, err := ParseFrame(line)
		require.NoError(t, err, line)
		require.Equal(t, want, f, line)
	}
	for line, want := range map[string]string{
		"zzz hello\n":              `invalid frame: "zzz hello\n" (invalid stream)`,
		"\n":                       `invalid frame: "\n"`,
		"hello\n":                  `invalid frame: "hello\n"`,
		" x\n":                     `invalid frame: " x\n" (invalid stream)`,
		"-1 x\n":                   `invalid frame: "-1 x\n" (invalid stream)`,
		"+1 x\n":                   `invalid frame: "+1 x\n" (invalid stream)`,
		"1_0 x\n":                  `invalid frame: "1_0 x\n" (invalid stream)`,
		"0x1 x\n":                  `invalid frame: "0x1 x\n" (invalid stream)`,
		"18446744073709551616 x\n": `invalid frame: "18446744073709551616 x\n" (invalid stream)`,
		"\u0661 x\n":               `invalid frame: "١ x\n" (invalid stream)`,
		"1\u00a0x\n":               `invalid frame: "1\u00a0x\n"`,
	} {
		_, err := ParseFrame(line)
		require.EqualError(t, err, want)
	}
}

func TestWatchRequestsAreParsed(t *testing.T) {
	const oid, at = "000000000000abcd", "0123456789abcdef"
	r, err := ParseWatch("watch " + oid + " @" + at)
	require.NoError(t, err)
	require.Equal(t, WatchRequest{Oid: 0xabcd, At: 0x0123456789abcdef}, r)
	r, err = ParseWatch("watch " + oid + " -")
	require.NoError(t, err)
	require.Equal(t, WatchRequest{Oid: 0xabcd, At: zodb.InvalidTid, Remove: true}, r)
	r, err = ParseWatch("watch ffffffffffffffff @ffffffffffffffff")
	require.NoError(t, err)
	require.Equal(t, WatchRequest{Oid: math.MaxUint64, At: math.MaxUint64}, r)
	for msg, want := range map[string]string{
		"":                                    `bad watch: not a watch request: ""`,
		"watch":                               `bad watch: not a watch request: "watch"`,
		" watch " + oid + " -":                `bad watch: not a watch request: " watch ` + oid + ` -"`,
		"watch ":                              "bad watch: expected 2 arguments, got 1",
		"watch " + oid:                        "bad watch: expected 2 arguments, got 1",
		"watch " + oid + "  -":                "bad watch: expected 2 arguments, got 3",
		"watch " + oid + " - ":                "bad watch: expected 2 arguments, got 3",
		"watch ABCDABCDABCDABCD -":            "bad watch: invalid oid",
		"watch 1 -":                           "bad watch: invalid oid",
		"watch +00000000000abcd -":            "bad watch: invalid oid",
		"watch  -":                            "bad watch: invalid oid",
		"watch 000000000000_bcd -":            "bad watch: invalid oid",
		"watch " + oid + " " + at:             "bad watch: invalid at",
		"watch " + oid + " @":                 "bad watch: invalid at",
		"watch " + oid + " @@" + at[1:]:       "bad watch: invalid at",
		"watch " + oid + " @" + at + "0":      "bad watch: invalid at",
		"watch " + oid + " @" + at[:15]:       "bad watch: invalid at",
		"watch " + oid + " @0123456789ABCDEF": "bad watch: invalid at",
		"watch " + oid + " ":                  "bad watch: invalid at",
	} {
		_, err := ParseWatch(msg)
		require.EqualError(t, err, want, msg)
	}
}

func TestMessagesFitIntoWhatClientsAccept(t *testing.T) {
	require.Equal(t, "1 ok\n", Frame{1, "ok"}.Line())
	require.Equal(t, "18446744073709551615 ok\n", Frame{math.MaxUint64, "ok"}.Line())
	require.Equal(t, "0 one line\n", Frame{0, "one\nline"}.Line())
	whole := strings.Repeat("x", 246)
	require.Equal(t, "1 "+whole+"\n", Frame{1, whole}.Line())
	require.Equal(t, "1 "+whole[:243]+"...\n", Frame{1, whole + "x"}.Line())
	for n := range 4 { // a rune is not cut
		line := Frame{1, strings.Repeat("x", n) + strings.Repeat("δ€", 200)}.Line()
		require.True(t, utf8.ValidString(line), "%q", line)
		require.LessOrEqual(t, len(line), len("1 \n")+246)
		require.Greater(t, len(line), len("1 \n")+246-4)
	}
}

// FuzzParse: nothing panics, what is said of a line fits into one, and what is
// accepted is written the same way again.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"1 watch 000000000000abcd @0123456789abcdef", "zzz hello", "2 ack", "3 bye", "5 watch 000000000000abcd -", "\x00 \xff"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		line, _, _ = strings.Cut(line, "\n")
		said := ""
		fr, err := ParseFrame(line + "\n")
		if err != nil {
			said = Frame{0, "error: " + err.Error()}.Line()
		} else if r, err := ParseWatch(fr.Msg); err != nil {
			said = Frame{fr.Stream, "error " + err.Error()}.Line()
		} else if text := "watch " + r.Oid.String(); r.Remove && fr.Msg != text+" -" || !r.Remove && fr.Msg != text+" @"+r.At.String() {
			t.Fatalf("%q was taken for %v", fr.Msg, r)
		}
		if strings.Count(said, "\n") > 1 || said != "" && !strings.HasSuffix(said, "\n") || len(said) > len("18446744073709551615 \n")+maxMessage {
			t.Fatalf("%q is answered by %q", line, said)
		}
	})
}
