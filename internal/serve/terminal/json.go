package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// JSON prints one document, set for people as well.
func JSON(w io.Writer, document any) error { return printJSON(w, document, "  ") }

// JSONLine prints a document on one line.
func JSONLine(w io.Writer, document any) error { return printJSON(w, document, "") }

func printJSON(w io.Writer, document any, indent string) error {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false) // "<f8" is to stay readable
	out.SetIndent("", indent)
	if err := out.Encode(document); err != nil {
		return err
	}
	_, err := w.Write(harmlessJSON(text.Bytes()))
	return err
}

// harmlessJSON escapes what encoding/json leaves: DEL and the control characters
// after ASCII. They can only be in strings.
func harmlessJSON(document []byte) []byte {
	if !bytes.ContainsFunc(document, isUpperControl) {
		return document
	}
	var out bytes.Buffer
	for _, r := range string(document) {
		if isUpperControl(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

func isUpperControl(r rune) bool { return r >= 0x7f && r <= 0x9f }
