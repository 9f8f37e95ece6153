package naming

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNamesAreKeysButForWhatNoFileCanHave(t *testing.T) {
	t.Parallel()
	for key, name := range map[string]string{
		"temperature":    "temperature",
		"a b":            "a b",
		".hidden":        ".hidden",
		"Wärme 東京 🌍":     "Wärme 東京 🌍",
		"(1, a)":         "(1, a)",
		"x.npz":          "x.npz",
		"":               "%empty",
		".":              "%2E",
		"..":             "%2E.",
		"...":            "...",
		"a/b":            "a%2Fb",
		"100%":           "100%25",
		"%empty":         "%25empty",
		"%2F":            "%252F",
		"nul\x00":        "nul%00",
		"\x1b[31m":       "%1B[31m",
		"line\nline":     "line%0Aline",
		"\u202eright":    "%E2%80%AEright",
		"\u0085":         "%C2%85",
		"bad \xff\xfe":   "bad %FF%FE",
		"\ufffd":         "\ufffd",
		"a.npy":          "a%2Enpy",
		".npy":           "%2Enpy",
		"a.json":         "a%2Ejson",
		"a.npy.json.npy": "a.npy.json%2Enpy",
		"a.NPY":          "a.NPY",
	} {
		require.Equal(t, name, Encode(key), "%q", key)
		got, ok := Decode(name)
		require.True(t, ok, name)
		require.Equal(t, key, got)
		got, ok = Decode(distinct(name, 0x2a))
		require.True(t, ok, name)
		require.Equal(t, key, got)
	}
	require.Equal(t, "a%@000000000000002a", distinct("a", 0x2a))
}

func TestLongNamesAreCutAndStayDistinct(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 200)
	a, b := Encode(long+"a"), Encode(long+"b")
	require.NotEqual(t, a, b)
	require.LessOrEqual(t, len(distinct(a, 1)), maxName)
	require.True(t, utf8.ValidString(a))
	_, ok := Decode(a)
	require.False(t, ok)
	exact := strings.Repeat("x", maxPlain)
	require.Equal(t, exact, Encode(exact))
	require.Len(t, Encode(exact+"x"), maxPlain)
}

func TestStrangeNamesDecodeToNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "%", "a%", "a%2", "%2f", "%zz", "%41", ".", "..", "a/b", "a.npy", "%@", "a%@12", "a%@000000000000002ax", "%~"} {
		_, ok := Decode(name)
		require.False(t, ok, name)
	}
}

// keys are keys of all sorts, with much of what has to be encoded.
func keys() *rapid.Generator[string] {
	part := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"%", "/", ".", ".npy", ".json", "%2F", "%@", "%~", "%empty", "\xff", "\n", "a", "é"}))
	return rapid.Custom(func(t *rapid.T) string {
		key := strings.Join(rapid.SliceOfN(part, 0, 6).Draw(t, "parts"), "")
		return strings.Repeat(key, rapid.SampledFrom([]int{1, 1, 1, 30}).Draw(t, "times"))
	})
}

// TestNamesLeadBackToTheirKeys: names are what files can be called, short enough, different
// for different keys, and tell the key, unless they are cut.
func TestNamesLeadBackToTheirKeys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := keys().Draw(t, "a"), keys().Draw(t, "b")
		name := Encode(a)
		require.Equal(t, a == b, name == Encode(b))
		require.NotEmpty(t, name)
		require.LessOrEqual(t, len(distinct(name, 1)), maxName)
		require.True(t, utf8.ValidString(name), "%q", name)
		require.False(t, strings.ContainsFunc(name, func(r rune) bool { return r == '/' || !unicode.IsPrint(r) && r != utf8.RuneError }))
		require.NotContains(t, []string{".", ".."}, name)
		for _, ending := range []string{".npy", ".json"} {
			require.False(t, strings.HasSuffix(name, ending))
		}
		got, ok := Decode(name)
		require.Equal(t, len(escape(a)) <= maxPlain, ok)
		if ok {
			require.Equal(t, a, got)
		}
	})
}

// TestEveryNameHasOneKey: text that is decoded is the name of what it is decoded to.
func TestEveryNameHasOneKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(keys(), rapid.Map(keys(), Encode)).Draw(t, "name")
		if key, ok := Decode(name); ok {
			name, _, _ = strings.Cut(name, oidMark)
			require.Equal(t, name, Encode(key))
		}
	})
}
