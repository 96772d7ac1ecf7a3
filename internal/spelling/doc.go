// Package spelling finds the word that somebody meant.
package spelling
