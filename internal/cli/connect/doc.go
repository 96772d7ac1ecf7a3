// Package connect owns the flags that say whom a command asks, and the sign-in to
// Azure and the cluster that they lead to. What is asked is left to the commands.
package connect
