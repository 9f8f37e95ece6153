package harness

import (
	"github.com/wcfs/wcfs/t/oracle"
)

// Files returns the paths of the arrays of db at a view, by name.
func Files(s *Server, db *oracle.DB, view string) map[string]string {
	paths := make(map[string]string)
	for name, file := range db.Files {
		paths[name] = s.Path(view, "bigfile", file.Oid.String())
	}
	return paths
}
