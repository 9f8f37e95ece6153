package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"syscall"
	"time"

	"github.com/golang/glog"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/serve/fusefs"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// mount mounts the tree as well as the kernel permits.
func (s *server) mount() (*fuse.Server, error) {
	size, err := mount.AllowRequestSize(fusefs.MaxRequest)
	if err != nil {
		glog.Infof("requests are limited to %d KiB, so a block of %d KiB takes several: %s", size>>10, fusefs.MaxRequest>>10, err)
	}
	s.device, err = s.place.Mount(mount.Options{Source: storage.Redact(s.opt.ZURL), Subtype: "wcfs", MaxRead: size, AllowOther: s.opt.AllowOther})
	if err != nil {
		return nil, err
	}
	tree, options := s.tree.Raw(size)
	raw := &entrance{RawFileSystem: tree, usage: s.usage, stopping: s.isStopping}
	options.Debug = s.opt.TraceFUSE
	options.Logger = log.New(glogWriter{}, "", 0)
	fuseServer, err := fuse.NewServer(raw, s.device.FUSEPath(), options)
	if err != nil && !s.device.Mounted() {
		return nil, fmt.Errorf("mount point %s: somebody has unmounted it before the server was ready: %w", s.place.Dir, err)
	}
	if err != nil {
		_ = s.device.Detach()
		return nil, &fault.Error{Kind: fault.OldKernel, About: "mount point " + s.place.Dir, Msg: fmt.Sprintf("start FUSE: %s", err), Err: err}
	}
	if err := s.checkKernel(fuseServer.KernelSettings()); err != nil {
		_ = s.device.Detach()
		return nil, err
	}
	return fuseServer, nil
}

// checkReady asks the mount a real question. A child asks: a server that waits
// for itself when a handler of it panics could not end, not even by SIGKILL. A
// mount that is gone again was taken away by somebody, which is no failure, nor is
// the end of ctx.
func (s *server) checkReady(ctx context.Context) error {
	err := s.probe.check(ctx)
	gone := errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED)
	if err == nil || gone || ctx.Err() != nil || !s.device.Mounted() {
		return nil
	}
	return fmt.Errorf("the mount does not answer: %w", err)
}

// unmount takes the mount away and waits until it is not connected any more. A
// mount that is in use is detached: its users get ENOTCONN when the process
// ends.
func (s *server) unmount() {
	if s.device.Disconnected() { // somebody unmounted, or aborted the connection
		if s.device.Mounted() {
			_ = s.device.Detach()
		}
		return
	}
	err := s.device.Unmount()
	if err == nil {
		if !s.waitDisconnected() {
			glog.Warning("the mount is also in other places, as in a container or a bind mount; those who use it there get ENOTCONN")
		}
		return
	}
	if !s.device.Mounted() {
		glog.Infof("%s", err)
		return
	}
	glog.Warningf("%s; it is detached and those who use it get ENOTCONN", err)
	if err := s.device.Detach(); err != nil {
		glog.Errorf("%s", err)
	}
}

// waitDisconnected waits until the kernel has given up the connection.
func (s *server) waitDisconnected() bool {
	for end := time.Now().Add(unmountWait); !s.device.Disconnected(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
