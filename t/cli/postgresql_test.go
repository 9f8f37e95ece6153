package cli

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/t/harness"
)

// TestDatabasesInPostgreSQLAreReadLikeFiles: commands that look say the same of a copy, and
// those that write, or need a file, say that they do not.
func TestDatabasesInPostgreSQLAreReadLikeFiles(t *testing.T) {
	t.Parallel()
	path := harness.CopyDatabase(t, "basic")
	p := harness.CopyToPostgreSQL(t, path, pgtest.Options{TCP: true})
	zurl := p.TCP(pgtest.Password, "")
	for _, args := range [][]string{
		{"ls"}, {"ls", "--json"}, {"log"}, {"log", "--json"}, {"log", "arr"}, {"log", "zblk1", "--json"},
		{"diff", "zblk0", "@040d232b6a8eb8bb", "@head"}, {"cat", "arr"}, {"cat", "mixed"}, {"cat", "zblk0", "--at", "@040d232b6a8eb8bb"},
	} {
		run := func(database string) string {
			return must(t, append([]string{args[0], database}, args[1:]...)...)
		}
		want := run(path)
		require.NotEmpty(t, want)
		require.Equal(t, want, run(zurl), args)
	}
	dir := t.TempDir()
	for name, database := range map[string]string{"file.npy": path, "server.npy": zurl} {
		must(t, "export", database, "arr", "-o", filepath.Join(dir, name))
	}
	require.Equal(t, harness.Content(t, filepath.Join(dir, "file.npy")), harness.Content(t, filepath.Join(dir, "server.npy")))

	before := must(t, "log", zurl)
	raw, _ := rawFile(t, 1000)
	for _, args := range [][]string{{"import", raw, zurl, "a", "--raw"}, {"import", raw, zurl, "arr", "--append"}, {"mv", zurl, "arr", "a"}, {"rm", zurl, "arr"}} {
		code, _, words := harness.Run(t, args...)
		require.Equal(t, 12, code, args)
		require.Contains(t, words, "only files, and databases behind a ZEO server, can be written", args)
	}
	code, _, words := harness.Run(t, "check", zurl)
	require.Equal(t, 12, code)
	require.Contains(t, words, "only files can be checked")
	require.Equal(t, before, must(t, "log", zurl))

	requireWordsOfPostgreSQL(t, p)
}

// requireWordsOfPostgreSQL: who names something else than the database is told what is wrong.
func requireWordsOfPostgreSQL(t *testing.T, p *harness.PostgreSQL) {
	t.Helper()
	free := p.CreateDatabase(t, false)
	p.Query(t, "CREATE DATABASE empty TEMPLATE postgres")
	at := func(user, database string) string {
		return fmt.Sprintf("postgresql://%s@127.0.0.1:%d/%s", user, p.Port, database)
	}
	me := "reader:" + pgtest.Password
	for typed, want := range map[string]struct {
		code  int
		words string
	}{
		at("reader:wrong", p.Name):            {6, `does not accept the password of user "reader"`},
		at(me, "nothing"):                     {6, `has no database "nothing"`},
		at(me, "empty"):                       {7, "has no tables of RelStorage"},
		free.TCP(pgtest.Password, ""):         {7, "is a history-free one of RelStorage"},
		"postgresql://127.0.0.1:1/zodb":       {6, "nobody listens at 127.0.0.1:1"},
		at(me, p.Name) + "?nonsense=1":        {12, `option "nonsense" is not known for postgresql`},
		at(me, p.Name) + "?sslmode=require":   {7, "does not encrypt"},
		at(me, p.Name) + "?read_only=false":   {12, "says that the database is to be written"},
		"postgresql://127.0.0.1:letters/zodb": {12, "cannot be understood"},
	} {
		code, out, words := harness.Run(t, "ls", typed)
		require.Equal(t, want.code, code, "%s: %s", typed, words)
		require.Contains(t, words, want.words)
		require.Empty(t, out)
	}
}
