package mount

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// connections is where the control filesystem of FUSE usually is.
const connections = "/sys/fs/fuse/connections"

// Abort makes the kernel give up the connection to the server: every request
// that waits for an answer fails, also those of processes that SIGKILL cannot
// end, and every later one gives ENOTCONN. It is for the owner of the mount, and
// for root.
func (e Entry) Abort() error {
	f, err := e.control("abort", os.O_WRONLY)
	if err == nil {
		_, err = f.WriteString("1")
		_ = f.Close()
	}
	if err != nil {
		return fmt.Errorf("abort the FUSE connection %d: %w", e.Minor, err)
	}
	return nil
}

// Waiting returns how many requests of the connection wait for an answer.
func (e Entry) Waiting() (int, error) {
	f, err := e.control("waiting", os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// control opens a control file of the connection.
func (e Entry) control(name string, flags int) (*os.File, error) {
	path := fmt.Sprintf("%s/%d/%s", connections, e.Minor, name)
	f, err := os.OpenFile(path, flags, 0)
	if err == nil {
		return f, nil
	}
	// As in many containers, nobody has mounted it. Root can, where no one sees.
	root, errMount := openFuseControl()
	if errMount != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := unix.Openat(root, fmt.Sprintf("%d/%s", e.Minor, name), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openFuseControl returns the root directory of the control filesystem, mounted
// on no directory.
func openFuseControl() (fd int, err error) {
	fs, err := unix.Fsopen("fusectl", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}
