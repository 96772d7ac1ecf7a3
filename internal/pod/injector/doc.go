// Package injector injects into manifests what the webhook injects into pods. It
// owns which objects of the input are workloads and which are their service
// accounts; what changes is package inject's business, how it is written package
// manifest's.
package injector
