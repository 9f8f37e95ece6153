package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSecretsAreNotOnTheCommandLine of a server in the background: it gets the url by its
// environment, and shows that to nobody.
func TestSecretsAreNotOnTheCommandLine(t *testing.T) {
	const zurl, shown = "zeo://db?ssl_key=/secret/key&storage=a", "zeo://db?ssl_key=xxx&storage=a"
	cmd := newMount()
	var f serveFlags
	require.NoError(t, cmd.ParseFlags(nil))
	opt, err := startOptions(cmd, &f, []string{zurl, t.TempDir()})
	require.NoError(t, err)
	require.NotContains(t, strings.Join(opt.Args, " "), "secret")
	require.Equal(t, shown, opt.Args[len(opt.Args)-2])
	require.Equal(t, []string{zurlEnv + "=" + zurl}, opt.Env)
	require.Equal(t, zurl, opt.ZURL)

	t.Setenv(zurlEnv, zurl)
	require.Equal(t, zurl, wholeURL(shown))
	require.False(t, slices.ContainsFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, zurlEnv+"=") }), "programs that it executes would have it")
	require.Equal(t, shown, wholeURL(shown), "nothing is known of it")
	t.Setenv(zurlEnv, "zeo://other?ssl_key=/secret/key")
	require.Equal(t, shown, wholeURL(shown), "that is another one")

	t.Setenv(zurlEnv, zurl)
	opt, err = startOptions(cmd, &f, []string{shown, t.TempDir()})
	require.NoError(t, err)
	require.Equal(t, zurl, opt.ZURL, "mount gets it so from clients")
	require.Equal(t, []string{zurlEnv + "=" + zurl}, opt.Env)

	opt, err = startOptions(cmd, &f, []string{"zeo://db", t.TempDir()})
	require.NoError(t, err)
	require.Empty(t, opt.Env)
	require.Equal(t, "zeo://db", opt.Args[len(opt.Args)-2])
}
