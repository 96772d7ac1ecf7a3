// Package sarif writes findings in the Static Analysis Results Interchange Format, which code
// hosts and scanners read.
package sarif
