package pickle

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/t/oracle"
)

func TestEveryRecordOfRealDatabasesIsDecoded(t *testing.T) {
	for _, name := range oracle.All(t) {
		for _, rec := range oracle.Load(t, name).Records(t) {
			class, _, err := Record(rec.Data)
			require.NoError(t, err, "%s: %s @%s", name, rec.Oid, rec.Tid)
			require.NotZero(t, class)
		}
	}
}
