// Package cli is azwi's command line: one file for each noun and verb, with its
// options, its constructor and its run function. It turns flags into the
// configuration of other packages and their results into text or JSON. It holds
// no knowledge of Azure or Kubernetes of its own.
package cli
