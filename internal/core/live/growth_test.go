package live_test

import (
	"bytes"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
)

// attrKernel notes what is true whenever the kernel is made to ask for attributes again.
type attrKernel struct {
	*livetest.Kernel
	file      *live.File
	extending func(size int64) // called when it is to learn of a larger size; may be nil
	extended  func()           // called when it has; may be nil

	mu   sync.Mutex
	told []attrTold
}

type attrTold struct {
	size int64    // that it would be told
	view zodb.Tid // that READs get
}

func (k *attrKernel) now() attrTold {
	return attrTold{k.file.Shown(), k.file.View()}
}

func (k *attrKernel) InvalidateAttr() error {
	k.mu.Lock()
	k.told = append(k.told, k.now())
	k.mu.Unlock()
	return k.Kernel.InvalidateAttr()
}

func (k *attrKernel) Extend(size int64) error {
	if k.extending != nil {
		k.extending(size)
	}
	err := k.Kernel.Extend(size)
	if k.extended != nil {
		k.extended()
	}
	return err
}

// TestKernelLearnsOfGrowthBeforeTheSwitch, and does not forget it. A stat meanwhile
// gives the new size, and a READ of what is new waits for the switch. Of the rest the
// kernel learns after the switch.
func TestKernelLearnsOfGrowthBeforeTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := int64(os.Getpagesize())
		k, h, next := resizeWorld(t, page, []int64{0}, []int64{0, 1}, []int64{0})
		noted := &attrKernel{Kernel: k, file: h.Known(1)}
		noted.file.Attach(noted)
		done, size := make(chan byte, 1), make(chan int64, 1)
		noted.extending = func(n int64) {
			require.Equal(t, 2*page, n)
			require.Equal(t, attrTold{page, 1}, noted.now())
			_, err := k.ReadDirect(t.Context(), 0, 1)
			require.NoError(t, err)
			go func() { size <- noted.file.Attr(t.Context()).Size }()
			go func() {
				data, err := k.ReadDirect(t.Context(), 1, 2)
				require.NoError(t, err)
				done <- append(data, 0)[0]
			}()
			synctest.Wait()
			require.Empty(t, done)
			require.Empty(t, size)
		}
		next()
		require.Equal(t, byte('b'), <-done)
		require.Equal(t, 2*page, <-size)
		require.False(t, k.Beyond(1), "nobody has asked for attributes")
		noted.extending, noted.told = nil, nil
		next()
		require.Equal(t, []attrTold{{page, 3}}, noted.told)
	})
}

// TestREADOfThePageWithTheEndWaitsForGrowth, since the kernel would take its end for
// that of the file.
func TestREADOfThePageWithTheEndWaitsForGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := int64(os.Getpagesize())
		k, h, next := resizeWorld(t, page/2, []int64{0}, []int64{0, 4})
		noted := &attrKernel{Kernel: k, file: h.Known(1)}
		noted.file.Attach(noted)
		done := make(chan error, 1)
		noted.extended = func() {
			go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
			synctest.Wait()
			require.Empty(t, done)
		}
		next()
		require.NoError(t, <-done)
		require.False(t, k.Beyond(2), "the kernel takes the file for shorter")
	})
}

// TestGrowthOfAFileOfWhichTheKernelWaitsForAPage: a fault of the page that the new end
// is in, of a kernel that has not learned yet that the file became shorter.
func TestGrowthOfAFileOfWhichTheKernelWaitsForAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := int64(os.Getpagesize())
		k, h, next := resizeWorld(t, page, []int64{0, 1}, []int64{0}, []int64{0, 1})
		noted := &attrKernel{Kernel: k, file: h.Known(1)}
		noted.file.Attach(noted)
		fault := make(chan error, 1)
		noted.extending = func(int64) {
			go func() { fault <- k.ReadPages(t.Context(), nil, 0, 1, 2) }()
			synctest.Wait()
			require.Empty(t, fault)
		}
		next()
		next()
		require.ErrorIs(t, <-fault, live.ErrBehindEnd)
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 1, 2))
		require.Equal(t, bytes.Repeat([]byte{'b'}, int(page)), k.PageAt(1))
	})
}

// TestSizeIsToldAsSoonAsTheKernelHasIt, and not only when other files are done.
func TestSizeIsToldAsSoonAsTheKernelHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := int64(os.Getpagesize())
		k, h, next := resizeWorld(t, page, []int64{0}, []int64{0, 1})
		twin, err := h.Open(t.Context(), 4)
		require.NoError(t, err)
		sizes := make(chan int64, 2)
		for _, noted := range []*attrKernel{{Kernel: k, file: h.Known(1)}, {Kernel: livetest.NewKernel(twin, func() {}), file: twin}} {
			noted.file.Attach(noted)
			noted.extending = func(int64) {
				synctest.Wait()
				if h.Known(1).Shown()+twin.Shown() > 2*page { // of the other file
					require.Equal(t, 2*page, <-sizes)
				}
				go func() { sizes <- noted.file.Attr(t.Context()).Size }()
				synctest.Wait() // it waits by now
			}
		}
		next()
		require.Equal(t, 2*page, <-sizes)
	})
}

// TestAnswerFromBeforeGrowthDoesNotCount for a kernel that has not learned either that
// the file was shorter in between.
func TestAnswerFromBeforeGrowthDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 1}, []int64{0}, []int64{0, 1})
		naps, answered := make(chan struct{}), make(chan struct{})
		nap := func() {}
		k := livetest.NewKernel(h.Known(1), func() { nap() })
		noted := &attrKernel{Kernel: k, file: h.Known(1)}
		noted.file.Attach(noted)
		next()
		nap = func() { <-naps }
		go func() { k.Stat(); close(answered) }()
		naps <- struct{}{}
		synctest.Wait() // the answer is on its way
		nap = func() {}
		noted.extended = func() {
			close(naps)
			<-answered
		}
		next()
		require.False(t, k.Beyond(1))
	})
}
