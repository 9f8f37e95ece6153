package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// catFlags are the options of cat as typed.
type catFlags struct {
	at, blocks     string
	offset, length int64
	force          bool
}

func newCat() *cobra.Command {
	var f catFlags
	cmd := &cobra.Command{
		Use:   "cat DATABASE NAME|OID",
		Short: "Write the bytes of an array to the standard output",
		Long: `Cat writes the data of an array, as it is now or as it was at a view, to the
standard output: its items one after another and nothing else. Of a file without
array it is the file up to the end of its last block. What was never written is
zeros. No server is needed.

--block takes part of it, by numbers of blocks: N is one of them, and N:M are
those from N to before M, either of which may be left out.`,
		Example: `  wcfs cat data.fs temperature >temperature.raw
  wcfs cat data.fs temperature --at -5m | sha1sum
  wcfs cat data.fs temperature --offset 4096 --length 64 | xxd
  wcfs cat data.fs 0000000000000a42 --block 3:5 | wc -c`,
		Args: wantArgs(2, "DATABASE NAME|OID", func(cmd *cobra.Command) error {
			return f.check(cmd)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCat(cmd.Context(), &f, args[0], args[1])
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	addAt(cmd, &f.at)
	flags.StringVar(&f.blocks, "block", "", "`BLOCKS` to write: N or N:M (default: all)")
	flags.Int64Var(&f.offset, "offset", 0, "`BYTE` to begin with")
	flags.Int64Var(&f.length, "length", 0, "how many `BYTES` to write at most (default: all)")
	flags.BoolVar(&f.force, "force", false, "write to a terminal, too")
	return cmd
}

// check refuses what is wrong for every array, and sets what was left out.
func (f *catFlags) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	switch {
	case changed("block") && (changed("offset") || changed("length")):
		return usagef("cat: --block does not go together with --offset and --length")
	case f.offset < 0:
		return usagef("cat: --offset must not be negative, got %d", f.offset)
	case f.length < 0:
		return usagef("cat: --length must not be negative, got %d", f.length)
	}
	if !changed("length") {
		f.length = math.MaxInt64
	}
	if !changed("block") {
		return nil
	}
	_, _, err := parseBlocks(f.blocks)
	return err
}

// parseBlocks parses N, N:M, N:, :M. The range is first <= block < end.
func parseBlocks(text string) (first, end int64, err error) {
	from, to, isRange := strings.Cut(text, ":")
	first, end = 0, math.MaxInt64
	if from != "" || !isRange {
		first, err = strconv.ParseInt(from, 10, 64)
	}
	if !isRange {
		end = first + 1
	} else if to != "" && err == nil {
		end, err = strconv.ParseInt(to, 10, 64)
	}
	if err != nil || first < 0 || end <= first {
		return 0, 0, usagef("cat: --block must be N, or N:M with N < M, got %q", text)
	}
	return first, end, nil
}

func runCat(ctx context.Context, f *catFlags, path, name string) error {
	if term.IsTerminal(int(os.Stdout.Fd())) && !f.force {
		return usagef("cat: the standard output is a terminal, which binary data may confuse; use a pipe, > FILE, or --force")
	}
	db, err := opener().OpenEntry(ctx, path, f.at, name)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := checkStdout(db.Storage); err != nil {
		return err
	}
	entry := db.Entry
	off, n, err := f.extent(name, entry)
	if err != nil {
		return err
	}
	bar := terminal.NewProgress("cat "+name, n)
	defer bar.Done()
	// When who reads has had enough, SIGPIPE ends the process, as it should be.
	return transfer.WriteStdout(ctx, func(w io.Writer) error {
		return transfer.Copy(ctx, db.Storage, db.At, entry.File, off, n, w, bar.Add)
	})
}

// extent returns what part of the file is wanted.
func (f *catFlags) extent(name string, e *catalog.Entry) (off, n int64, err error) {
	if e.ArrayErr != nil {
		return 0, 0, fmt.Errorf("%s: %w; the file of the array can be read: wcfs cat DATABASE %s", name, e.ArrayErr, e.File)
	}
	size := e.Size
	if e.Array != nil {
		size, _ = e.Array.Bytes() // it is no array otherwise
	}
	if f.blocks == "" {
		if f.offset > size {
			return 0, 0, usagef("cat: --offset %d is beyond the end: %s has %s", f.offset, name, terminal.Count(size, "byte"))
		}
		return f.offset, min(f.length, size-f.offset), nil
	}
	first, end, err := parseBlocks(f.blocks)
	if err != nil {
		return 0, 0, err
	}
	blocks := size / e.BlkSize
	if size%e.BlkSize != 0 {
		blocks++
	}
	if first >= blocks {
		return 0, 0, usagef("cat: --block %s is beyond the end: %s has %s", f.blocks, name, terminal.Count(blocks, "block"))
	}
	off = first * e.BlkSize
	if end < blocks {
		return off, (end - first) * e.BlkSize, nil
	}
	return off, size - off, nil
}
