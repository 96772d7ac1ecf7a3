// Package explain owns azwi explain: which codes a text has, and how what is known of
// them is shown. What is known is internal/finding's.
package explain
