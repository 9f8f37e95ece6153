package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// TestInterruptedIsOneWord, whatever a command was at, and nothing else is.
func TestInterruptedIsOneWord(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	failed := fmt.Errorf("open x: %w", context.Canceled)
	require.Equal(t, failed, orInterrupted(ctx, failed))
	cancel()
	require.Equal(t, errInterrupted, orInterrupted(ctx, failed))
	require.Equal(t, errInterrupted, orInterrupted(ctx, fmt.Errorf("read: %w", os.ErrDeadlineExceeded)))
	require.NoError(t, orInterrupted(ctx, nil))
	other := errors.New("no")
	require.Equal(t, other, orInterrupted(ctx, other))
	require.Equal(t, 1, fault.Exit(errInterrupted))
}
