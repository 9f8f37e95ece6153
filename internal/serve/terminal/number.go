package terminal

import "fmt"

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
