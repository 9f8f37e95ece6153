package lint

import (
	"regexp"
	"strings"
	"testing"
)

// prose returns the text of a comment: without the marks of Go, what is indented, and what
// is quoted.
func prose(comment string) string {
	var text strings.Builder
	for line := range strings.Lines(comment) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "//")
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "\t"), strings.HasPrefix(line, "  "), strings.HasPrefix(line, "go:"):
			text.WriteString("\n")
		case strings.TrimSpace(line) == "":
			text.WriteString("\n\n")
		default:
			text.WriteString(" " + strings.TrimSpace(line))
		}
	}
	return quoted.ReplaceAllString(text.String(), "...")
}

// quoted is text that is not ours: literals and what they mean.
var quoted = regexp.MustCompile("\"[^\"\n]*\"|`[^`\n]*`|``[^`]*``|\\[[^]\n]*\\]|'[^' \n]*'")

// nameless is how a sentence begins that does not say what it is about: whoever reads it
// aloud to somebody has to explain.
var nameless = regexp.MustCompile(`(?m)(?:^|[.!?]\s+)\s*((?:What|Who|Whoever|Whatever|That|Which)\b(?:'s)?)`)

// TestSentencesNameTheirSubject: the subject of a sentence is a noun.
func TestSentencesNameTheirSubject(t *testing.T) {
	const advice = "begin the sentence with the noun that it is about"
	found := map[string]int{}
	for _, f := range theSource(t).files {
		for _, group := range f.Comments {
			found[wing(f.dir)] += len(nameless.FindAllString(prose(commentText(f, group)), -1))
		}
	}
	for path, text := range documents(t) {
		found[path] += len(nameless.FindAllString(quoted.ReplaceAllString(text, "..."), -1))
	}
	for place, n := range found {
		if n == 0 {
			delete(found, place)
		}
	}
	hold(t, "nameless", advice, found)
}

// wing returns the part of the repository that a directory belongs to.
func wing(dir string) string {
	parts := strings.Split(dir, "/")
	if parts[0] == "internal" && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

// label is a short name of a step, a rule or a scenario, as in "c4 switches the view".
var label = regexp.MustCompile(`\b[A-Z]\d{1,2}\b|\b[a-z]\d{1,2}\b`)

// TestLabelsAreDefined: a label that a comment uses is defined by a comment or a document
// of the repository, by a line of its own that begins with it.
func TestLabelsAreDefined(t *testing.T) {
	s := theSource(t)
	defined := map[string]bool{}
	define := func(text string) {
		for _, found := range definition.FindAllStringSubmatch(text, -1) {
			defined[found[1]] = true
		}
	}
	for _, text := range documents(t) {
		define(text)
	}
	for _, f := range s.files {
		for _, group := range f.Comments {
			define(commentText(f, group))
		}
	}
	unknown := map[string]int{}
	for _, f := range s.files {
		for _, group := range f.Comments {
			for _, name := range label.FindAllString(prose(commentText(f, group)), -1) {
				if !defined[name] && !isIdent(f, name) {
					unknown[f.path+" "+name]++
				}
			}
		}
	}
	hold(t, "label", "a comment or a document has to say what it is, in a line that begins with it", unknown)
}

// definition is such a line, in Go or in a document.
var definition = regexp.MustCompile(`(?m)^(?:\s*//)?\s*([A-Za-z]\d{1,2})(?:  +|\t)\S`)

// isIdent reports whether it is something that the file has by that name.
func isIdent(f *file, name string) bool {
	return regexp.MustCompile(`(?m)^[^/\n]*\b` + name + `\b`).MatchString(f.text)
}
