package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// pod is what the demo needs of a pod.
type pod struct {
	Metadata struct{ Namespace, Name, UID string }
	Spec     struct {
		ServiceAccountName string
		Containers         []struct {
			Name         string
			Env          []struct{ Name, Value string }
			VolumeMounts []struct{ Name, MountPath string }
		}
		Volumes []podVolume
	}
}

type podVolume struct {
	Name      string
	ConfigMap *struct{ Name string }
	Projected *struct {
		Sources []struct{ ServiceAccountToken *projectedToken }
	}
}

type projectedToken struct {
	Audience          string
	ExpirationSeconds int64
	Path              string
}

func (v podVolume) token() *projectedToken {
	if v.Projected == nil {
		return nil
	}
	for _, s := range v.Projected.Sources {
		if s.ServiceAccountToken != nil {
			return s.ServiceAccountToken
		}
	}
	return nil
}

// volumeFiles makes the files of the pod's volumes, by volume and path, as the kubelet
// does. Its only ConfigMap has the local Entra's CA.
func (d *demo) volumeFiles(ctx context.Context, p pod) (map[string]map[string]string, error) {
	files := map[string]map[string]string{}
	for _, v := range p.Spec.Volumes {
		switch token := v.token(); {
		case v.ConfigMap != nil:
			ca, err := os.ReadFile(d.entra.CAFile)
			if err != nil {
				return nil, err
			}
			files[v.Name] = map[string]string{"ca.crt": string(ca)}
		case token != nil && token.Audience != "":
			signed, err := d.place.token(ctx, p, *token)
			if err != nil {
				return nil, err
			}
			files[v.Name] = map[string]string{token.Path: signed}
		}
	}
	return files, nil
}

// A confined program is started by inside, in a mount namespace of its own.
type confined struct {
	Program string
	Env     []string
	Files   map[string]string // by absolute path
}

// insideArgument makes this binary the one that prepares the namespace.
const insideArgument = "inside-mount-namespace"

// container returns the command that runs the program as the pod's container.
func (d *demo) container(ctx context.Context, p pod, volumes map[string]map[string]string) (*exec.Cmd, error) {
	program, err := filepath.Abs(d.workload)
	if err != nil {
		return nil, err
	}
	c := p.Spec.Containers[0]
	run := confined{Program: program, Files: map[string]string{}}
	for _, e := range c.Env {
		run.Env = append(run.Env, e.Name+"="+e.Value)
	}
	for _, m := range c.VolumeMounts {
		for path, content := range volumes[m.Name] {
			run.Files[filepath.Join(m.MountPath, path)] = content
		}
	}
	if d.rewrites {
		return d.rewritten(ctx, run)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(run)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, insideArgument)
	cmd.SysProcAttr, cmd.Env = mountNamespace(), []string{}
	cmd.Stdin = bytes.NewReader(spec) // tokens do not go on a command line
	return cmd, nil
}

// rewritten puts the files elsewhere and changes the paths in the environment.
func (d *demo) rewritten(ctx context.Context, run confined) (*exec.Cmd, error) {
	root, err := os.MkdirTemp(d.dir, "pod-")
	if err != nil {
		return nil, err
	}
	if err := writeFiles(root, run.Files); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, run.Program)
	cmd.Env = []string{}
	for _, e := range run.Env {
		name, value, _ := strings.Cut(e, "=")
		if _, ok := run.Files[value]; ok {
			value = filepath.Join(root, value)
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd, nil
}

func writeFiles(root string, files map[string]string) error {
	for path, content := range files {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func secret() string { return fmt.Sprintf("demo-%s", rand.Text()) }
