// Package memlimit keeps a program within its container's memory: it reads the
// limit of the process's cgroup and has Go's garbage collector work harder before
// the kernel would kill the process. It bounds nothing itself: what a program holds
// alive is up to the program.
package memlimit
