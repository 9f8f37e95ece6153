package harness

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// StartGoClientAs starts a client of s as a user.
func StartGoClientAs(t testing.TB, uid uint32, s *Server) *GoClient {
	t.Helper()
	return NewClient(StartHelperAs(t, uid, "goclient", s.Dir))
}

// NewClient returns the client that a helper is, which has just been started.
func NewClient(h *Helper) *GoClient {
	h.T.Helper()
	require.Equal(h.T, "ready", h.Line())
	return &GoClient{h.T, h}
}

// GoClient is a process that uses package client, or does the same by other means.
type GoClient struct {
	t      testing.TB
	Helper *Helper
}

// StartGoClient starts a client of s.
func StartGoClient(t testing.TB, s *Server) *GoClient {
	t.Helper()
	return NewClient(StartHelper(t, "goclient", s.Dir))
}

// Do requires that a command works.
func (c *GoClient) Do(format string, args ...any) {
	c.t.Helper()
	require.Equal(c.t, "ok", c.Helper.Ask(fmt.Sprintf(format, args...)), format, args)
}

// Fails requires that a command fails with an error that has text in it.
func (c *GoClient) Fails(text, format string, args ...any) {
	c.t.Helper()
	answer := c.Helper.Ask(fmt.Sprintf(format, args...))
	require.True(c.t, strings.HasPrefix(answer, "error: "), answer)
	require.Contains(c.t, answer, text)
}

// Shows requires what a mapping, or a file, shows.
func (c *GoClient) Shows(command string, texts ...string) {
	c.t.Helper()
	require.Equal(c.t, fmt.Sprintf("%q", texts), c.Helper.Ask(command))
}

// End lets the client close everything and end.
func (c *GoClient) End() {
	c.t.Helper()
	require.Zero(c.t, c.Helper.Wait())
}
