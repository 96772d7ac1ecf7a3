// Package command owns what all commands of azwi share: streams, logs, exit codes,
// how a result is printed, and the question before something is done. It knows
// neither Kubernetes nor Azure beyond the exit code of a refusal.
package command
