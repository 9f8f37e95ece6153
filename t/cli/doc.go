// Package cli tests the commands that need no server of their own, the demonstration, the
// documents, of which every command is typed, and what is released.
package cli
