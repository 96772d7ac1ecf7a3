// Package terminal writes text for people: the one place where values that come
// from elsewhere (Azure's and the API server's answers, manifests, names) meet a
// terminal or a log. It escapes the values and adds line control of its own
// afterwards. Data (JSON, YAML, manifests, tokens) does not pass through it.
package terminal
