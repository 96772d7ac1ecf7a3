// Package atomicfile replaces files: readers see the old content or the new, also
// after a kill or a crash. Which files, and who may read them, is its callers' choice.
package atomicfile
