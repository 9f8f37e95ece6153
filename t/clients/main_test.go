package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/t/harness"
)

func TestMain(m *testing.M) { harness.Main(m, harness.Helpers{}) }

// kind is a kind of client, which scenarios are run with.
type kind struct {
	name  string
	reads bool // without memory, too
	start func(t *testing.T, s *harness.Server) *harness.GoClient
}

// forClients runs a scenario with each kind of client.
func forClients(t *testing.T, scenario func(t *testing.T, k kind)) {
	goClient := func(t *testing.T, s *harness.Server) *harness.GoClient { return harness.StartGoClient(t, s) }
	kinds := []kind{{"go", true, goClient}}
	for _, b := range builds {
		kinds = append(kinds, kind{"c-" + b.name, false, b.startHelper})
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			scenario(t, k)
		})
	}
}

// build is a way to build libwcfs with its tests.
type build struct {
	name  string
	flags []string
	env   []string // of programs that are built so

	once sync.Once
	dir  string
	err  error
	out  []byte
}

// builds are all ways. Faults are what the tests look for, so sanitizers leave them alone.
var builds = []*build{
	{name: "plain", flags: []string{"-O2"}},
	{name: "asan", flags: []string{"-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"},
		env: []string{"ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:allow_user_segv_handler=1"}},
	{name: "tsan", flags: []string{"-O1", "-fsanitize=thread"}, env: []string{"TSAN_OPTIONS=handle_segv=0:handle_sigbus=0:halt_on_error=1"}},
}

// make compiles the programs of client/c/test, once.
func (b *build) make(t *testing.T) (dir string) {
	t.Helper()
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "libwcfs-"); b.err != nil {
			return
		}
		for output, tests := range map[string][]string{
			"helper":     {"faults.c", "helper.c"},
			"transcript": {"fake.c", "faults.c", "transcript.c"},
		} {
			b.compile(output, tests)
		}
	})
	require.NoError(t, b.err, "%s", b.out)
	return b.dir
}

func (b *build) compile(output string, tests []string) {
	sources, err := filepath.Glob(harness.Repo("client/c/*.c"))
	if err != nil || b.err != nil {
		return
	}
	for _, test := range tests {
		sources = append(sources, filepath.Join(harness.Repo("client/c/test"), test))
	}
	args := append([]string{"-std=c11", "-D_GNU_SOURCE", "-g", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes",
		"-Wmissing-prototypes", "-Werror", "-pthread", "-o", filepath.Join(b.dir, output)}, b.flags...)
	b.out, b.err = exec.Command("gcc", append(args, sources...)...).CombinedOutput()
}

// testLibrary returns the path of libwcfs as a shared library, with what tests need besides.
func testLibrary(t *testing.T) string {
	t.Helper()
	b := &build{flags: []string{"-O2", "-shared", "-fPIC"}, dir: t.TempDir()}
	b.compile("libtest.so", []string{"fake.c"})
	require.NoError(t, b.err, "%s", b.out)
	return filepath.Join(b.dir, "libtest.so")
}

// startHelper starts the helper of libwcfs.
func (b *build) startHelper(t *testing.T, s *harness.Server) *harness.GoClient {
	t.Helper()
	program := filepath.Join(b.make(t), "helper")
	return harness.NewClient(harness.StartProgram(t, "env", append(b.env, program, s.Dir)...))
}
