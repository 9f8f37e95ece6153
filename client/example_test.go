package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"runtime/debug"

	"github.com/wcfs/wcfs/client"
)

// Example adds up an array at one view, and then at the newest one.
func Example() {
	ctx := context.Background()
	w, err := client.Join(ctx, "file:///srv/data.fs")
	if errors.Is(err, client.ErrNotRunning) {
		log.Fatal("start one: wcfs serve file:///srv/data.fs")
	} else if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	conn, err := w.Connect(ctx, client.Head)
	if err != nil {
		log.Fatal(err)
	}
	file, err := conn.Open(ctx, 0x2a)
	if err != nil {
		log.Fatal(err)
	}
	size, err := file.Size(ctx)
	if err != nil {
		log.Fatal(err)
	}
	m, err := file.Mmap(ctx, 0, size/file.BlkSize())
	if err != nil {
		log.Fatal(err)
	}
	defer m.Unmap()

	for range 2 {
		sum := 0
		err := m.View(func(data []byte) error {
			for _, b := range data {
				sum += int(b)
			}
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("@%s: %d\n", conn.At(), sum)
		if err := conn.Resync(ctx, client.Head); err != nil {
			log.Fatal(err)
		}
	}
}

// The work of View can also be done around code of any kind.
func ExampleMapping_Data() {
	var m *client.Mapping // from File.Mmap
	first := func() (b byte, err error) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if fault, ok := recover().(interface{ Addr() uintptr }); ok {
				err = fmt.Errorf("fault at %#x", fault.Addr())
			}
		}()
		return m.Data()[0], nil
	}
	if _, err := first(); err != nil {
		log.Fatal(err)
	}
}

// ReadAt copies, and turns failures into errors.
func ExampleFile_ReadAt() {
	var file *client.File // from Conn.Open
	block := make([]byte, file.BlkSize())
	if _, err := file.ReadAt(block, 7*file.BlkSize()); errors.Is(err, client.ErrCrashed) {
		log.Fatal("the server is gone: join again")
	}
}
