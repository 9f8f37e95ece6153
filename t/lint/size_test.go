package lint

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	maxFile = 400 // lines
	maxFunc = 60  // lines
)

// TestFilesAreShort: a file can be read in one sitting.
func TestFilesAreShort(t *testing.T) {
	long := map[string]int{}
	for _, f := range theSource(t).files {
		if n := strings.Count(f.text, "\n"); n > maxFile {
			long[f.path] = n
		}
	}
	hold(t, "file", "split the file where its subject changes", long)
}

// TestFunctionsAreShort: a function can be seen at once.
func TestFunctionsAreShort(t *testing.T) {
	s, long := theSource(t), map[string]int{}
	for _, f := range s.files {
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && s.lines(d)-s.docLines(d) > maxFunc {
				long[f.path+" "+funcName(d)] = s.lines(d) - s.docLines(d)
			}
		}
	}
	hold(t, "func", "make parts of the function functions", long)
}

// docLines returns how many lines the comment before a function takes, which is part of
// the function for package ast.
func (s *source) docLines(d *ast.FuncDecl) int {
	return s.fset.Position(d.Type.Func).Line - s.fset.Position(d.Pos()).Line
}

// funcName returns the name of a function, with its receiver.
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	of := d.Recv.List[0].Type
	for {
		switch typ := of.(type) {
		case *ast.StarExpr:
			of = typ.X
		case *ast.IndexExpr:
			of = typ.X
		case *ast.IndexListExpr:
			of = typ.X
		case *ast.Ident:
			return typ.Name + "." + d.Name.Name
		}
	}
}

// coreParts are the packages that decide what a client sees. Together they have to be
// small enough that one person can hold them in mind.
//
// Files that the build tag invariants guards are not part of what decides.
var coreParts = []string{"internal/core/versions", "internal/core/served", "internal/core/isolation"}

// maxCore is how many lines of code they may have in the end. The budget says how many
// they have until then.
const maxCore = 2000

func TestDecidingPartOfTheCoreIsSmall(t *testing.T) {
	sum := 0
	for _, f := range theSource(t).files {
		if f.isProduct() && slices.Contains(coreParts, f.dir) && !strings.HasPrefix(f.text, "//go:build invariants\n") {
			sum += codeLines(f)
		}
	}
	require.Positive(t, sum)
	if sum <= maxCore {
		sum = 0
	}
	found := map[string]int{"internal/core": sum}
	maps.DeleteFunc(found, func(_ string, n int) bool { return n == 0 })
	hold(t, "code", "what decides must not grow", found)
}

// codeLines counts the lines with code.
func codeLines(f *file) (n int) {
	for line := range strings.Lines(f.text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			n++
		}
	}
	return n
}
