// Package spelling finds the word that a user meant.
package spelling
