// Package glob matches texts against patterns with wildcards, for role actions,
// claims and paths of faults alike. It knows no path separators.
package glob
