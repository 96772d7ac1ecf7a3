// Package doctor follows the way from a pod to its token, link by link, and says at which
// one it breaks, with what was seen. It owns the order of the links, what each looks at, and
// which findings follow from which. The sentences are package finding's; rules about
// manifests are package lint's, those about installations package install's.
//
// It reads, creates pods and accounts in dry runs, and requests tokens, unless told not to.
// A token goes to the authority of the Exchanger alone, never to one that a pod names.
package doctor
