// Package finding is the catalogue of what can be wrong: for each kind of mistake a
// stable code, its severity, a title, the place in the docs that explains it, and the
// sentence that tells a person about one. Nobody else writes such a sentence: a Finding
// can be made only by the constructors here, from typed arguments. Finding mistakes is
// left to those who look (pod/inject, pod/lint, token/entra, azure, kube, install), and
// showing them to those who print.
package finding
