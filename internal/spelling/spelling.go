package spelling

import (
	"fmt"
	"strings"
)

// Distance is the number of bytes to add, drop or change to make b of a
// (Levenshtein), or most+1 if the lengths differ by more than most.
func Distance(a, b string, most int) int {
	if d := len(a) - len(b); d > most || d < -most {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Nearest returns the known word that is most like word, the first of equals, or
// nothing if none is much like it. Case does not count.
func Nearest(word string, known []string) string {
	word = strings.ToLower(word)
	nearest, least := "", max(2, len(word)/4)+1
	for _, k := range known {
		if d := Distance(word, strings.ToLower(k), least-1); d < least {
			nearest, least = k, d
		}
	}
	return nearest
}

// Suggest returns a clause for the end of an error, with the known word that is most
// like word; it is empty if none is.
func Suggest(word string, known []string) string {
	if nearest := Nearest(word, known); nearest != "" {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	return ""
}
