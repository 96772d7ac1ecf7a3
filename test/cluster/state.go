package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// State is what a cluster leaves in its folder for those who come later.
type State struct {
	// Ready is false until all its programs are ready.
	Ready bool `json:"ready"`
	// Version is the Kubernetes release.
	Version string `json:"version"`
	// Started is when the first process was.
	Started time.Time `json:"started"`
	// URL and Issuer are as in Cluster.
	URL    string `json:"url"`
	Issuer string `json:"issuer"`
	// Node names what a node takes of the machine beside the folder; empty without
	// one.
	Node string `json:"node,omitempty"`
	// Processes are those it started, in order, whether they still run or not.
	Processes []Process `json:"processes"`
}

const stateFile = "state.json"

// LoadState returns the state of the cluster in the folder; a folder that holds
// none, or none that was started since the last ForgetState, gives an empty one.
func LoadState(dir string) (State, error) {
	var s State
	file := filepath.Join(dir, stateFile)
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(content, &s); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// ForgetState removes the state of a cluster that was stopped, not its data.
func ForgetState(dir string) error { return os.RemoveAll(filepath.Join(dir, stateFile)) }

// RemoveData removes what a cluster that was stopped left in the folder. It goes
// by name, as the folder may be one that somebody chose, with other things in it.
func RemoveData(dir string) error {
	var errs []error
	for _, name := range []string{
		"admission.yaml", "audit.json", "controller-manager.kubeconfig", "etcd", "kubeconfig", "kubelet.kubeconfig", "kube-proxy.kubeconfig",
		"log", "node", "peer", "pki", "scheduler.kubeconfig", stateFile, "webhooks.kubeconfig",
	} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// ReleaseNode gives back what a node took of the machine beside the folder, once
// its processes have ended.
func (s State) ReleaseNode() error { return removeCgroups(s.Node) }

// Split tells the processes that run from those that have ended.
func (s State) Split() (running, ended []Process) {
	for _, process := range s.Processes {
		if process.Alive() {
			running = append(running, process)
		} else {
			ended = append(ended, process)
		}
	}
	return running, ended
}

// saveState writes the state down. It is done with each process that starts, so
// that even a start that was killed half-way can be cleaned up after.
func (c *Cluster) saveState(ready bool) error {
	s := State{Ready: ready, Version: Version, Started: c.started, URL: c.URL, Issuer: c.Issuer}
	if c.node != nil {
		s.Node = c.node.place.name
	}
	for _, child := range c.children {
		s.Processes = append(s.Processes, child.Process)
	}
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.path(stateFile), append(content, '\n'), 0o600)
}
