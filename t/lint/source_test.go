package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the repository, as seen from here.
const root = "../.."

// source is the Go code of the repository.
type source struct {
	fset  *token.FileSet
	files []*file
}

// file is one file of it.
type file struct {
	*ast.File
	path string // from the root of the repository
	dir  string
	text string
}

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// isProduct reports whether the file is part of what users run.
func (f *file) isProduct() bool { return !f.isTest() && !strings.HasPrefix(f.path, "t/") }

// parse reads all Go code once, and is asked by every test.
var parse = sync.OnceValues(func() (*source, error) {
	s := &source{fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin" || d.Name() == "dist-out"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		return s.add(path)
	})
	return s, err
})

func (s *source) add(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(s.fset, path, text, parser.ParseComments)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(root, path)
	s.files = append(s.files, &file{File: parsed, path: name, dir: filepath.Dir(name), text: string(text)})
	return err
}

// theSource returns the Go code of the repository.
func theSource(t *testing.T) *source {
	t.Helper()
	s, err := parse()
	require.NoError(t, err)
	return s
}

// lines returns how many lines a node takes.
func (s *source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// documents returns the text of what people read, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.rst", "doc/*.rst"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, path := range paths {
			name, err := filepath.Rel(root, path)
			require.NoError(t, err)
			texts[name] = document(t, name)
		}
	}
	return texts
}

// document returns the text of one.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

// commentText returns a comment as it stands in the file.
func commentText(f *file, group *ast.CommentGroup) string {
	var lines []string
	for _, c := range group.List {
		lines = append(lines, c.Text)
	}
	return strings.Join(lines, "\n")
}
