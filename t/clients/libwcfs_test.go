package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/t/harness"
)

// transcripts returns the paths of all of them.
func transcripts(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(harness.Repo("client/testdata/transcripts/[a-z]*"))
	require.NoError(t, err)
	require.Greater(t, len(paths), 10)
	return paths
}

// run runs a program in a directory of its own, for a limited time, and requires success.
func run(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = append(os.Environ(), env...), t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestTranscriptsOfLibwcfs: it says what client/testdata/transcripts say, and has no error
// that sanitizers know of.
func TestTranscriptsOfLibwcfs(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			run(t, b.env, filepath.Join(b.make(t), "transcript"), transcripts(t)...)
		})
	}
}

// TestTranscriptsUnderValgrind: no memory is used that has no value yet, and none is lost.
func TestTranscriptsUnderValgrind(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("valgrind"); err != nil {
		t.Skip("there is no valgrind")
	}
	args := []string{"-q", "--error-exitcode=9", "--leak-check=full",
		"--suppressions=" + harness.Repo("client/c/test/valgrind.supp"), filepath.Join(builds[0].make(t), "transcript")}
	run(t, nil, "valgrind", append(args, transcripts(t)...)...)
}

// TestManyThreads: a hundred threads have connections of their own while blocks change.
func TestManyThreads(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			sc := harness.NewSceneOf(t, 0, 16<<10)
			sc.Commit(0, 1, 2, 3)
			c := b.startHelper(t, sc.Server)
			c.Helper.Tell(fmt.Sprintf("threads 100 %s 4", sc.File.Oid))
			var answer string
			for i := int64(0); answer == ""; i++ {
				sc.Commit(i % 4)
				select {
				case answer = <-c.Helper.Lines:
				default:
				}
			}
			require.Equal(t, "0", answer)
			c.End()
			sc.Server.Stop()
		})
	}
}

// TestForkLeavesTheParentAlone: in a child every call says so and memory faults; the parent
// still has its view.
func TestForkLeavesTheParentAlone(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			sc := harness.NewSceneOf(t, 0, 16<<10)
			at := sc.Commit(0, 1)
			c := b.startHelper(t, sc.Server)
			c.Do("connect c %s", at)
			c.Do("open f c %s", sc.File.Oid)
			c.Do("mmap m f 0 3")
			c.Shows("show m", "a1", "b1", "")
			require.Equal(t, "0", c.Helper.Ask("fork c m"), "how many things were wrong")
			sc.Commit(0, 1)
			c.Shows("show m", "a1", "b1", "")
			c.Do("resync c head")
			c.Shows("show m", "a2", "b2", "")
			c.End()
			sc.Server.Stop()
		})
	}
}

// TestJoinStartsAServer if none runs, and finds the one that does by each name of the database.
func TestJoinStartsAServer(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			path := harness.CopyDatabase(t, "basic")
			start := func(program string, args ...string) *harness.Helper {
				env := append([]string{"-C", filepath.Dir(path), "WCFS=" + program}, b.env...)
				return harness.StartProgram(t, "env", append(append(env, filepath.Join(b.make(t), "helper")), args...)...)
			}
			require.Contains(t, start(harness.Binary, path).Line(), "error 3: join: no server of file://"+path+" is running")
			require.Contains(t, start("/nowhere/wcfs", path, "start").Line(), "error 5: ")
			require.Contains(t, start(harness.Binary, path+".nothing", "start").Line(), "error 5: ")
			t.Cleanup(func() { harness.Run(t, "stop", path) })
			first := harness.NewClient(start(harness.Binary, path, "start"))
			joined := first.Helper.Ask("joined")
			require.True(t, strings.HasSuffix(joined, " file://"+path), joined)
			first.Do("connect c head")
			base := filepath.Base(path)
			for _, name := range []string{path, base, "./" + base, "../" + filepath.Base(filepath.Dir(path)) + "//./" + base, "file://" + path, strings.Fields(joined)[0]} {
				c := harness.NewClient(start(harness.Binary, name))
				require.Equal(t, joined, c.Helper.Ask("joined"), name)
				c.End()
			}
			first.End()
		})
	}
}

// TestSecretsAreInNoCommandLine: a server is started, and found again, by a url of which
// others see a part only. Here the secret is a part of a path, which is none for the server.
func TestSecretsAreInNoCommandLine(t *testing.T) {
	const secret = "hunter2"
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "of;password="+secret)
			require.NoError(t, os.Mkdir(dir, 0o755))
			path, record, recorder := filepath.Join(dir, "data.fs"), filepath.Join(t.TempDir(), "record"), filepath.Join(t.TempDir(), "wcfs")
			require.NoError(t, os.Rename(harness.CopyDatabase(t, "basic"), path))
			require.NoError(t, os.WriteFile(recorder, []byte("#!/bin/sh\necho \"$@\" >>"+record+"\nexec "+harness.Binary+" \"$@\"\n"), 0o755))
			start := func(args ...string) *harness.Helper {
				env := append([]string{"WCFS=" + recorder}, b.env...)
				return harness.StartProgram(t, "env", append(append(env, filepath.Join(b.make(t), "helper")), args...)...)
			}
			line := start(path).Line()
			require.Contains(t, line, "no server of ")
			require.Contains(t, line, "password=xxx")
			require.NotContains(t, line, secret)
			t.Cleanup(func() { harness.Run(t, "stop", path) })
			first := harness.NewClient(start(path, "start"))
			joined := first.Helper.Ask("joined")
			require.True(t, strings.HasSuffix(joined, " file://"+path), joined)
			again := harness.NewClient(start("file://" + path))
			require.Equal(t, joined, again.Helper.Ask("joined"))
			again.End()
			first.End()
			run, err := os.ReadFile(record)
			require.NoError(t, err)
			require.Contains(t, string(run), "mount --autoexit -- file://")
			require.NotContains(t, string(run), secret)
		})
	}
}

// TestLibraryNeedsTheCLibraryOnly, of which threads are a part.
func TestLibraryNeedsTheCLibraryOnly(t *testing.T) {
	t.Parallel()
	needed, err := exec.Command("readelf", "-d", testLibrary(t)).Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(needed)) {
		if strings.Contains(line, "(NEEDED)") {
			require.Contains(t, line, "libc.so.6")
		}
	}
}
