package client

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// transcript is a run of one of testdata/transcripts, which README.rst there describes.
type transcript struct {
	t      *testing.T
	f      *fake
	files  map[string][]*File
	maps   []*Mapping
	wanted []string // lines of the client, in any order

	call chan error // of the call in progress
}

// outcomes are the errors that codes stand for.
var outcomes = map[string]error{
	"closed": ErrClosed, "down": ErrDown, "protocol": ErrProtocol, "pin": ErrPin,
	"back": ErrGoingBack, "nofile": ErrNotBigFile,
}

// TestTranscripts: the client says what all clients do.
func TestTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/transcripts/[a-z]*")
	require.NoError(t, err)
	require.Greater(t, len(paths), 10)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			script, err := os.ReadFile(path)
			require.NoError(t, err)
			(&transcript{t: t, files: make(map[string][]*File)}).run(string(script))
		})
	}
}

func (r *transcript) run(script string) {
	head := ""
	var setup [][]string // before the connection
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "C":
			r.wanted = append(r.wanted, strings.Join(words[1:], " "))
		case r.f == nil && words[0] == "head":
			head = words[1]
		case r.f == nil && words[0] == "connect":
			r.f = newFake(r.t, r.id(words[1]))
			r.f.setHead(r.id(head))
			for _, words := range setup {
				r.step(words)
			}
		case r.f == nil:
			setup = append(setup, words)
		default:
			r.expect()
			r.step(words)
		}
	}
	r.expect()
	r.f.peer.Close()
}

// id returns an id, of which zeros at the beginning may be left out.
func (r *transcript) id(text string) Tid {
	r.t.Helper()
	if text == "head" {
		return Head
	}
	id, err := strconv.ParseUint(text, 16, 64)
	require.NoError(r.t, err)
	return Tid(id)
}

// expect requires that the client says what is wanted.
func (r *transcript) expect() {
	r.t.Helper()
	var said []string
	for range r.wanted {
		said = append(said, r.f.line())
	}
	require.ElementsMatch(r.t, r.wanted, said)
	r.wanted = nil
}

func (r *transcript) step(words []string) {
	r.t.Helper()
	arg := func(i int) string { return append(words, "", "", "", "")[i] }
	switch words[0] {
	case "head":
		r.f.setHead(r.id(arg(1)))
	case "file":
		view := arg(1)
		if at, past := strings.CutPrefix(view, "@"); past {
			view = "@" + r.id(at).String()
		}
		r.f.setFile(view, Oid(r.id(arg(2))), arg(3))
	case "open", "close", "resync", "disconnect":
		r.begin(arg(0), arg(1))
	case "ok":
		require.NoError(r.t, <-r.call)
	case "fails":
		r.failed(<-r.call, arg(1))
	case "map":
		r.mmap(arg(1), arg(2), arg(3), arg(4))
	case "shows":
		n, _ := strconv.Atoi(arg(1))
		require.Equal(r.t, arg(2), letters(r.maps[n]))
	case "S":
		if len(words) == 1 {
			r.f.peer.Close()
			return
		}
		r.f.say("%s", strings.Join(words[1:], " "))
	case "broken":
		<-r.f.c.ended
		_, err := r.f.c.Open(r.t.Context(), other)
		r.failed(err, arg(1))
		r.failed(r.f.c.Resync(r.t.Context(), Head), arg(1))
	default:
		r.t.Fatalf("not known: %s", words)
	}
}

// begin makes a call, that goes on while lines are exchanged.
func (r *transcript) begin(verb, arg string) {
	call := make(chan error, 1)
	r.call = call
	go func() {
		switch c := r.f.c; verb {
		case "open":
			file, err := c.Open(r.t.Context(), Oid(r.id(arg)))
			if err == nil {
				r.files[arg] = append(r.files[arg], file)
			}
			call <- err
		case "close":
			last := len(r.files[arg]) - 1
			err := r.files[arg][last].Close()
			if last > 0 { // else it is still used, to see that nothing works
				r.files[arg] = r.files[arg][:last]
			}
			call <- err
		case "resync":
			call <- c.Resync(r.t.Context(), r.id(arg))
		case "disconnect":
			call <- c.Close()
		}
	}()
}

func (r *transcript) failed(err error, code string) {
	r.t.Helper()
	if code == "refused" {
		var refused *ServerError
		require.ErrorAs(r.t, err, &refused)
		return
	}
	require.ErrorIs(r.t, err, outcomes[code])
}

func (r *transcript) mmap(oid, start, count, code string) {
	r.t.Helper()
	n := func(text string) int64 {
		v, err := strconv.ParseInt(text, 10, 64)
		require.NoError(r.t, err)
		return v
	}
	files := r.files[oid]
	m, err := files[len(files)-1].Mmap(r.t.Context(), n(start), n(count))
	if code != "" {
		require.ErrorIs(r.t, err, ErrFileClosed)
		return
	}
	require.NoError(r.t, err)
	r.maps = append(r.maps, m)
	r.t.Cleanup(func() { require.NoError(r.t, m.Unmap()) })
}
