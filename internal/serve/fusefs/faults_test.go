package fusefs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// logged returns what f logs.
func logged(f func(say func(depth int, args ...any))) (lines []string) {
	f(func(_ int, args ...any) { lines = append(lines, fmt.Sprint(args...)) })
	return lines
}

func TestTheSameFaultIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaults()
		damage := errors.New("block #5 is damaged")
		lines := logged(func(say func(int, ...any)) {
			for range 1000 {
				fs.log(damage, say)
			}
			fs.log(errors.New("block #6 is damaged"), say)
			time.Sleep(sameFault)
			fs.log(damage, say)
		})
		require.Equal(t, []string{"block #5 is damaged", "block #6 is damaged",
			"block #5 is damaged; and 999 times more since that was said last"}, lines)
	})
}

func TestFaultsOfAnyKindAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaults()
		lines := logged(func(say func(int, ...any)) {
			for i := range 100 * faultsBurst {
				fs.log(fmt.Errorf("name %d cannot be", i), say)
				require.LessOrEqual(t, len(fs.known), maxFaults)
			}
		})
		require.Len(t, lines, faultsBurst)
		time.Sleep(time.Second)
		lines = logged(func(say func(int, ...any)) { fs.log(errors.New("one more"), say) })
		require.Len(t, lines, 2, strings.Join(lines, "\n"))
		require.Contains(t, lines[1], fmt.Sprintf("%d lines", 99*faultsBurst))
	})
}
