package logging

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestJournalTurnsLinesOfGlog: the letter becomes a priority, time and thread go,
// and what is not of glog belongs to the line before.
func TestJournalTurnsLinesOfGlog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ log, want string }{
		{"I0802 12:34:56.123456    4711 serve.go:12] hello world\n", "<6>serve.go:12] hello world\n"},
		{"W0802 12:34:56.123456 1234567 a.go:1] w\n", "<4>a.go:1] w\n"},
		{"E0802 12:34:56.123456       1 a.go:1] e\n", "<3>a.go:1] e\n"},
		{"F0802 12:34:56.123456       1 a.go:1] f\ngoroutine 1 [running]:\n\tmain\n", "<2>a.go:1] f\n<2>goroutine 1 [running]:\n<2>\tmain\n"},
		{"plain\n", "<6>plain\n"},
		{"\n", "<6>\n"},
		{"I0802 12:34:56,123456 1 a.go:1] other\n", "<6>I0802 12:34:56,123456 1 a.go:1] other\n"},
		{"Ix802 12:34:56.123456 1 a.go:1] other\n", "<6>Ix802 12:34:56.123456 1 a.go:1] other\n"},
		{"X0802 12:34:56.123456 1 a.go:1] other\n", "<6>X0802 12:34:56.123456 1 a.go:1] other\n"},
		{"no end", "<6>no end\n"},
		{"", ""},
	} {
		require.Equal(t, c.want, throughJournal([]byte(c.log), nil), "%q", c.log)
	}
}

// throughJournal writes log in parts that end at cuts.
func throughJournal(log []byte, cuts []int) string {
	var out bytes.Buffer
	j := newJournal(&out)
	for _, cut := range cuts {
		_, _ = j.Write(log[:cut])
		log = log[cut:]
	}
	_, _ = j.Write(log)
	_ = j.Flush()
	return out.String()
}

// TestJournalDoesNotDependOnHowTheLogArrives: in whatever parts.
func TestJournalDoesNotDependOnHowTheLogArrives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var log []byte
		for range rapid.IntRange(0, 20).Draw(t, "lines") {
			if rapid.Bool().Draw(t, "glog") {
				log = fmt.Appendf(log, "%s0802 12:34:56.123456 77 ", rapid.SampledFrom([]string{"I", "W", "E", "F"}).Draw(t, "letter"))
			}
			log = append(log, rapid.StringMatching(`[ a-z<>0-9]{0,30}`).Draw(t, "text")...)
			log = append(log, '\n')
		}
		var cuts []int
		for left := len(log); left > 0; left -= cuts[len(cuts)-1] {
			cuts = append(cuts, rapid.IntRange(1, left).Draw(t, "cut"))
		}
		whole := throughJournal(log, nil)
		if got := throughJournal(log, cuts); got != whole {
			t.Fatalf("in parts:\n%s\nat once:\n%s", got, whole)
		}
		if strings.Count(whole, "\n") != bytes.Count(log, []byte("\n")) {
			t.Fatalf("lines are lost or added:\n%s", whole)
		}
	})
}

// TestJournalCutsEndlessLines: nobody must be able to fill our memory.
func TestJournalCutsEndlessLines(t *testing.T) {
	t.Parallel()
	log := bytes.Repeat([]byte("x"), 3*maxJournalLine+7)
	got := throughJournal(log, []int{maxJournalLine, 1})
	require.Equal(t, 4, strings.Count(got, "<6>x"))
	require.Equal(t, len(log), strings.Count(got, "x"))
}

func TestJournalIsKnownByItsNumbers(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(int(w.Fd()), &st))
	stream := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	require.True(t, isJournal(w, stream))
	require.False(t, isJournal(w, stream+"1"))
	require.False(t, isJournal(w, ""))
	require.False(t, isJournal(os.Stdin, stream))
}
