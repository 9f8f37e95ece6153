package harness

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/wcfs/wcfs/client"
)

// goClient is a process that uses package client. It does what it is told, and
// prints one line for each: "ok", what was asked for, or "error: " and the text.
type goClient struct {
	w     *client.WCFS
	conns map[string]*client.Conn
	files map[string]*client.File
	maps  map[string]*client.Mapping
	sizes map[string]int64 // of blocks, by mapping
}

// helperGoClient runs a goClient. Argument: the mount point.
func helperGoClient(args []string) error {
	w, err := client.JoinMount(context.Background(), args[0])
	if err != nil {
		return err
	}
	h := &goClient{w, make(map[string]*client.Conn), make(map[string]*client.File), make(map[string]*client.Mapping), make(map[string]int64)}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer, err := h.do(strings.Fields(in.Text()))
		if err != nil {
			answer = "error: " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
	}
	return w.Close()
}

func (h *goClient) do(words []string) (answer string, err error) {
	ctx := context.Background()
	arg := func(i int) string { return words[i] }
	num := func(i int) int64 {
		n, _ := strconv.ParseInt(words[i], 10, 64)
		return n
	}
	switch answer = "ok"; words[0] {
	case "connect": // CONN AT
		h.conns[arg(1)], err = h.w.Connect(ctx, view(arg(2)))
	case "resync": // CONN AT
		err = h.conns[arg(1)].Resync(ctx, view(arg(2)))
	case "at": // CONN
		answer = h.conns[arg(1)].At().String()
	case "close": // CONN
		err = h.conns[arg(1)].Close()
	case "open": // FILE CONN OID
		oid, _ := client.ParseOid(arg(3))
		h.files[arg(1)], err = h.conns[arg(2)].Open(ctx, oid)
	case "openarray": // FILE CONN NAME
		var a *client.Array
		if h.files[arg(1)], a, err = h.conns[arg(2)].OpenArray(ctx, arg(3)); err == nil {
			answer = fmt.Sprintf("%s %s %v %d", a.File, a.DType, a.Shape, a.Bytes)
		}
	case "size": // FILE
		var size int64
		size, err = h.files[arg(1)].Size(ctx)
		answer = fmt.Sprint(size)
	case "closefile": // FILE
		err = h.files[arg(1)].Close()
	case "mmap": // MAPPING FILE START COUNT
		f := h.files[arg(2)]
		h.maps[arg(1)], err = f.Mmap(ctx, num(3), num(4))
		h.sizes[arg(1)] = f.BlkSize()
	case "unmap": // MAPPING
		err = h.maps[arg(1)].Unmap()
	case "load": // MAPPING
		m := h.maps[arg(1)]
		err = m.Load(ctx, m.BlkStart(), m.BlkStop()-m.BlkStart())
	case "show": // MAPPING
		answer = fmt.Sprintf("%q", h.show(arg(1)))
	case "read": // FILE COUNT
		answer, err = h.read(h.files[arg(1)], num(2))
	}
	return answer, err
}

// view parses a view, or "head".
func view(s string) client.Tid {
	if s == "head" {
		return client.Head
	}
	at, _ := client.ParseTid(s)
	return at
}

// show returns the text of each block of a mapping, "!" for a fault.
func (h *goClient) show(name string) (texts []string) {
	m, size := h.maps[name], h.sizes[name]
	for blk := range m.BlkStop() - m.BlkStart() {
		text := "!"
		_ = m.View(func(data []byte) error {
			text = strings.TrimRight(string(data[blk*size:][:size]), "\x00")
			return nil
		})
		texts = append(texts, text)
	}
	return texts
}

// read is show by means of ReadAt.
func (h *goClient) read(f *client.File, count int64) (string, error) {
	data := make([]byte, count*f.BlkSize())
	if _, err := f.ReadAt(data, 0); err != nil {
		return "", err
	}
	var texts []string
	for ; len(data) > 0; data = data[f.BlkSize():] {
		texts = append(texts, strings.TrimRight(string(data[:f.BlkSize()]), "\x00"))
	}
	return fmt.Sprintf("%q", texts), nil
}
