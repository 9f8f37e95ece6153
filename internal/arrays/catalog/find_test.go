package catalog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// find returns the path and the oid of what a name means.
func find(t testing.TB, w *world, name string) (string, zodb.Oid) {
	t.Helper()
	e, err := Find(t.Context(), w.stor, w.tid, name)
	require.NoError(t, err, name)
	return e.Path, e.Oid
}

func TestOidsNameWhatNoPathLeadsTo(t *testing.T) {
	w := newWorld(t)
	named, lost := w.file(0), w.file(0)
	w.root(pyMap{"named": named, "0xbeef": named})
	w.commit()
	for oid, forms := range map[zodb.Oid][]string{
		named.oid: {named.oid.String(), fmt.Sprintf("0x%x", uint64(named.oid)), fmt.Sprintf("0x%02x", uint64(named.oid))},
		lost.oid:  {lost.oid.String(), fmt.Sprintf("0x%X", uint64(lost.oid))},
	} {
		for _, form := range forms {
			path, got := find(t, w, form)
			require.Equal(t, oid, got)
			require.Equal(t, oid.String(), path)
		}
	}
	path, oid := find(t, w, "0xbeef")
	require.Equal(t, "0xbeef", path)
	require.Equal(t, named.oid, oid)

	var notFound *NotFoundError
	for _, name := range []string{"00000000000000ff", "0xffffffffffffffff", "0x12345678123456789", "0x", ""} {
		_, err := Find(t.Context(), w.stor, w.tid, name)
		require.ErrorAs(t, err, &notFound, name)
		require.Equal(t, name, notFound.Name)
	}
}

func TestNamesMayHaveSlashes(t *testing.T) {
	w := newWorld(t)
	long, short, nested := w.file(), w.file(), w.file()
	w.root(pyMap{
		"a":     w.add(mappingClass, pyMap{"data": pyMap{"b/c": short, "b": w.add(appClass, pyMap{"d": nested})}}),
		"a/b/c": long, "a/b": nil,
	})
	w.commit()
	_, oid := find(t, w, "a/b/c")
	require.Equal(t, long.oid, oid)
	_, oid = find(t, w, "a/b/d")
	require.Equal(t, nested.oid, oid)
	var notFound *NotFoundError
	for _, name := range []string{"", "/a/b/c", "a/b/c/", "a//b/c", "a/", "/"} {
		_, err := Find(t.Context(), w.stor, w.tid, name)
		require.ErrorAs(t, err, &notFound, name)
	}
}

// TestManyWaysToCutANameTakeLittleTime: there are 2^60 of them here.
func TestManyWaysToCutANameTakeLittleTime(t *testing.T) {
	w := newWorld(t)
	self := pyRef{rootOid, mappingClass}
	w.root(pyMap{"a": self, "a/a": self, "a/a/a": self})
	w.commit()
	before := w.stor.Loads()
	_, err := Find(t.Context(), w.stor, w.tid, strings.Repeat("a/", 80)+"b")
	var notFound *NotFoundError
	require.ErrorAs(t, err, &notFound)
	require.Less(t, w.stor.Loads()-before, int64(100))
}

func TestNamesMayBeEmpty(t *testing.T) {
	w := newWorld(t)
	files := map[string]pyRef{"": w.file(), "a/": w.file(), "b//c": w.file(), "b//": w.file()}
	w.root(pyMap{
		"":  files[""],
		"a": w.add(appClass, pyMap{"": files["a/"]}),
		"b": w.add(appClass, pyMap{"": w.add(appClass, pyMap{"c": files["b//c"], "": files["b//"]})}),
	})
	w.commit()
	for name, file := range files {
		_, oid := find(t, w, name)
		require.Equal(t, file.oid, oid, "%q", name)
	}
}

func TestOtherObjectsAreOfTheWrongKind(t *testing.T) {
	w := newWorld(t)
	w.root(pyMap{"folder": w.add(appClass, pyMap{"x": w.file(7)}), "n": 5})
	w.commit()
	var block zodb.Oid
	for oid, class := range w.classes {
		if class == record.ZBlk0 {
			block = oid
		}
	}
	for name, class := range map[string]string{"folder": "app.model.Folder", "0x0": "persistent.mapping.PersistentMapping", block.String(): "ZBlk0"} {
		_, err := Find(t.Context(), w.stor, w.tid, name)
		var wrong *WrongKindError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, name, wrong.Name)
		require.ErrorContains(t, err, class)
	}
	var notFound *NotFoundError
	_, err := Find(t.Context(), w.stor, w.tid, "n")
	require.ErrorAs(t, err, &notFound)
}

func TestDamageOnTheWayIsToldUnlessThereIsAnother(t *testing.T) {
	w := newWorld(t)
	file := w.file()
	bad := w.add(appClass, pyMap{})
	w.records[bad.oid] = []byte("garbage")
	badFile := w.file()
	w.records[badFile.oid] = []byte("garbage")
	w.root(pyMap{"bad": bad, "bad/file": w.add(appClass, pyMap{"x": file}), "file": badFile, "array": w.array(1, badFile), "gone": pyRef{99, record.ZBigFile}})
	w.commit()
	_, oid := find(t, w, "bad/file/x")
	require.Equal(t, file.oid, oid)
	for _, name := range []string{"bad/x", "bad", "file", "array", badFile.oid.String()} {
		_, err := Find(t.Context(), w.stor, w.tid, name)
		var corrupt *storage.CorruptError
		require.ErrorAs(t, err, &corrupt, name)
		require.ErrorContains(t, err, name)
	}
	_, err := Find(t.Context(), w.stor, w.tid, "gone")
	require.True(t, storage.IsNoData(err), "%v", err)
}

func TestNamesThatMayHaveBeenMeantAreSuggested(t *testing.T) {
	w := newWorld(t)
	w.root(pyMap{
		"temperature": w.array(1, w.file()), "Pressure": w.file(), "wind": w.file(), "wine": w.file(), "wing": w.file(), "wink": w.file(), "a": w.file(),
		"station": w.add(mappingClass, pyMap{"data": pyMap{"north": w.add(appClass, pyMap{"humidity": w.file(), "temp": w.file()})}}),
	})
	w.commit()
	for name, want := range map[string][]string{
		"temprature":          {"temperature"},
		"tempreature":         {"temperature"},
		"temper":              {"temperature", "station/north/temp"},
		"TEMPERATURE":         {"temperature"},
		"pressure":            {"Pressure"},
		"humidity":            {"station/north/humidity"},
		"North/Humidity":      {"station/north/humidity"},
		"humidty":             {"station/north/humidity"},
		"station/nort/temp":   {"station/north/temp"},
		"win":                 {"wind", "wine", "wing"},
		"winkk":               {"wink"},
		"nothing like it":     nil,
		"b":                   nil,
		"":                    nil,
		"station/south/winds": nil,
	} {
		_, err := Find(t.Context(), w.stor, w.tid, name)
		var notFound *NotFoundError
		require.ErrorAs(t, err, &notFound)
		require.Equal(t, want, notFound.Near, name)
	}
}

// TestDistancesAreThoseOfSingleEdits: every edit adds at most one, and a distance
// of zero means equality.
func TestDistancesAreThoseOfSingleEdits(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abcd", "bacd", 1}, {"flaw", "lawn", 2}, {"naïve", "naive", 1}} {
		require.Equal(t, test.want, distance(test.a, test.b, 10), "%q %q", test.a, test.b)
		require.Equal(t, test.want, distance(test.b, test.a, 10), "%q %q", test.b, test.a)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		a := randomWord(rnd)
		b, edits := a, rnd.IntN(4)
		for range edits {
			b = edit(rnd, b)
		}
		d := distance(a, b, 10)
		require.LessOrEqual(t, d, edits, "%q %q", a, b)
		require.Equal(t, a == b, d == 0, "%q %q", a, b)
	}
}

func randomWord(rnd *rand.Rand) string {
	word := make([]byte, 1+rnd.IntN(10))
	for i := range word {
		word[i] = "abc"[rnd.IntN(3)]
	}
	return string(word)
}

// edit puts in, leaves out or replaces one character.
func edit(rnd *rand.Rand, s string) string {
	i := rnd.IntN(len(s) + 1)
	c := string("abc"[rnd.IntN(3)])
	switch rest := s[i:]; {
	case rnd.IntN(3) == 0 || rest == "":
		return s[:i] + c + rest
	case rnd.IntN(2) == 0:
		return s[:i] + c + rest[1:]
	default:
		return s[:i] + rest[1:]
	}
}
