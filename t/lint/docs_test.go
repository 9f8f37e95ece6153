package lint

import (
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// names are what the packages of the repository declare, by package: functions, types,
// methods and fields ("Txn.Commit").
func names(s *source) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, f := range s.files {
		if f.isTest() {
			continue
		}
		if all[f.Name.Name] == nil {
			all[f.Name.Name] = map[string]bool{}
		}
		for _, name := range declared(f) {
			all[f.Name.Name][name] = true
		}
	}
	return all
}

func declared(f *file) (names []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, funcName(d))
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names = append(append(names, spec.Name.Name), members(spec)...)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// members returns the fields of a structure and the methods of an interface.
func members(spec *ast.TypeSpec) (names []string) {
	var list *ast.FieldList
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		for _, name := range field.Names {
			names = append(names, spec.Name.Name+"."+name.Name)
		}
	}
	return names
}

// cited is a name of Go, or a file, in the text of a document.
var (
	cited     = regexp.MustCompile("``([a-z0-9]+)\\.([A-Z]\\w*(?:\\.\\w+)?)")
	citedFile = regexp.MustCompile("``((?:[a-z0-9.]+/)*[a-z0-9_]+\\.go)``")
)

// TestDocumentsNameWhatIsThere: what they say of the code by its name has that name.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	s := theSource(t)
	all := names(s)
	for path, text := range documents(t) {
		for _, name := range cited.FindAllStringSubmatch(text, -1) {
			if pkg, ok := all[name[1]]; !ok || !pkg[name[2]] {
				t.Errorf("%s: there is no %s.%s", path, name[1], name[2])
			}
		}
		for _, name := range citedFile.FindAllStringSubmatch(text, -1) {
			isIt := func(f *file) bool { return strings.HasSuffix("/"+f.path, "/"+name[1]) }
			require.True(t, slices.ContainsFunc(s.files, isIt), "%s: there is no file %s", path, name[1])
		}
	}
}

// TestGoroutinesHaveTheirRow: each file that starts goroutines stands in the table of
// DESIGN.rst that says who waits for them, and no other file does.
func TestGoroutinesHaveTheirRow(t *testing.T) {
	_, table, found := strings.Cut(document(t, "DESIGN.rst"), "\ngoroutine ")
	require.True(t, found, "DESIGN.rst has no table of goroutines")
	table, _, _ = strings.Cut(table, "\n\n")
	started := starters(theSource(t))
	for _, file := range slices.Sorted(maps.Keys(started)) {
		if !strings.Contains(table, "``"+file+"``") {
			t.Errorf("%s starts a goroutine, and the table of DESIGN.rst does not say whose it is", started[file])
		}
	}
	for _, file := range citedFile.FindAllStringSubmatch(table, -1) {
		if started[file[1]] == "" {
			t.Errorf("%s starts no goroutine, but stands in the table of DESIGN.rst", file[1])
		}
	}
}

// starters returns the files of the product that start goroutines, as "package/file.go",
// and where they do.
func starters(s *source) map[string]string {
	all := map[string]string{}
	for _, f := range s.files {
		if !f.isProduct() || strings.HasSuffix(f.dir, "test") { // suites for tests
			continue
		}
		name := filepath.Base(f.dir) + "/" + filepath.Base(f.path)
		ast.Inspect(f.File, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				all[name] = s.fset.Position(n.Pos()).String()
			}
			if call, ok := n.(*ast.CallExpr); ok {
				if of, ok := call.Fun.(*ast.SelectorExpr); ok && of.Sel.Name == "Go" && len(call.Args) == 1 {
					all[name] = s.fset.Position(n.Pos()).String()
				}
			}
			return true
		})
	}
	return all
}

// TestDesignIsCitedByTitle, and the section is there: numbers of sections move.
func TestDesignIsCitedByTitle(t *testing.T) {
	design := document(t, "DESIGN.rst")
	check := func(path, text string) {
		require.NotRegexp(t, `DESIGN(\.rst)?\W*(section )?\d`, text, path)
		for _, title := range regexp.MustCompile(`"([^"]+)" in \W*DESIGN\.rst`).FindAllStringSubmatch(text, -1) {
			require.Contains(t, design, "\n"+title[1]+"\n"+strings.Repeat("=", len(title[1])), path)
		}
	}
	for path, text := range documents(t) {
		check(path, strings.Join(strings.Fields(text), " "))
	}
	for _, f := range theSource(t).files {
		for _, group := range f.Comments {
			check(f.path, strings.Join(strings.Fields(group.Text()), " "))
		}
	}
}

// TestPromisesNameTheirTests: every test that doc/semantics.rst names exists in
// the package it says.
func TestPromisesNameTheirTests(t *testing.T) {
	pkg, promises := "", 0
	for line := range strings.Lines(document(t, "doc/semantics.rst")) {
		column := line[min(60, len(line)):]
		if found := regexp.MustCompile(`^([a-z/0-9]+):`).FindStringSubmatch(column); found != nil {
			pkg = found[1]
		}
		for _, name := range regexp.MustCompile(`\b[A-Z][A-Za-z0-9]{9,}\b`).FindAllString(column, -1) {
			promises++
			require.True(t, hasTest(t, pkg, name), "%s: %s", pkg, name)
		}
	}
	require.Greater(t, promises, 20)
}

// hasTest reports whether the package in a directory has a test of that name.
func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	require.NoError(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		if strings.Contains(string(text), "func Test"+name+"(") {
			return true
		}
	}
	return false
}

// TestDocumentedTargetsAreThere: whoever is told to type make X finds that in the Makefile.
func TestDocumentedTargetsAreThere(t *testing.T) {
	rules := document(t, "Makefile")
	for path, text := range documents(t) {
		for _, found := range regexp.MustCompile("(?m)(?:``|^    )make ([a-z][a-z-]*)").FindAllStringSubmatch(text, -1) {
			require.Regexp(t, "(?m)^"+found[1]+":", rules, path)
		}
	}
}
