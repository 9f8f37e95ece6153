package storage

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// MaxUnpacked bounds what a compressed record may grow to, in bytes.
const MaxUnpacked = 256 << 20

// IsPacked reports whether a record was compressed by zc.zlibstorage. A plain one cannot
// begin like that: its first pickle would end at once.
func IsPacked(data []byte) bool { return len(data) > 2 && data[0] == '.' && data[1] == 'z' }

// Plain returns buf, or what it was before if it is packed. It takes over buf.
func Plain(buf *Buf) (*Buf, error) {
	if !IsPacked(buf.Data) {
		return buf, nil
	}
	defer buf.Release()
	data, err := Unpack(buf.Data, MaxUnpacked)
	if err != nil {
		return nil, err
	}
	plain := NewBuf(len(data))
	copy(plain.Data, data)
	return plain, nil
}

// Unpack returns what data, for which IsPacked holds, was before it was compressed: at
// least one byte and at most limit.
func Unpack(data []byte, limit int64) ([]byte, error) {
	return Inflate(data[2:], limit)
}

// Inflate returns what was compressed by zlib: at least one byte and at most limit.
func Inflate(data []byte, limit int64) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var plain bytes.Buffer
	n, err := io.Copy(&plain, io.LimitReader(z, limit+1))
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, fmt.Errorf("it would become more than %d bytes", limit)
	case n == 0:
		return nil, errors.New("nothing is in it")
	}
	return plain.Bytes(), nil
}
