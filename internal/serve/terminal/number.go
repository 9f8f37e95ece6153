package terminal

import (
	"fmt"
	"strconv"
)

// Size returns a number of bytes for people.
func Size(n int64) string {
	if n < 1<<10 {
		return Count(n, "byte")
	}
	size, i := float64(n)/(1<<10), 0
	for ; size >= 1023.95 && i < len("KMGTPE")-1; i++ {
		size /= 1 << 10
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTPE"[i])
}

// Count returns a number of things.
func Count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Number returns a number with its digits in groups of three, as 1 234 567.
func Number(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}
