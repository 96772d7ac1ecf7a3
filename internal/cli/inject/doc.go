// Package inject owns the flags of azwi inject. Injection into manifests is
// internal/pod/injector's.
package inject
