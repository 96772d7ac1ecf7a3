// Command cluster keeps a real Kubernetes control plane running for trying things out:
// etcd, kube-apiserver and kube-controller-manager on loopback. It serves the
// make targets cluster-up, cluster-down and kube.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"azwi/test/cluster"
)

const usage = `usage: cluster COMMAND [flags]

  up      start the control plane; its processes stay when this command ends
  down    stop it and remove its data (-keep: leave them for the next up)
  status  say what runs
  build   only build the Kubernetes binary that up needs
  check   say whether this machine can run a node; exit code 3: it may not, and
          no package would mend that
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	actions := map[string]func(command, context.Context) error{
		"up": command.up, "down": command.down, "status": command.status, "build": command.build, "check": command.check,
	}
	if len(args) == 0 || actions[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	name := args[0]
	cmd := command{stdout: stdout, stderr: stderr}
	flags := flag.NewFlagSet("cluster "+name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cmd.dir, "dir", ".cluster", "folder for its state")
	flags.IntVar(&cmd.apiPort, "api-port", 16443, "port of the API server on 127.0.0.1; 0: any free one")
	flags.IntVar(&cmd.etcdPort, "etcd-port", 12379, "port of etcd on 127.0.0.1; 0: any free one")
	flags.BoolVar(&cmd.node, "node", false, "up: add a node, on which pods run (Linux, root)")
	flags.StringVar(&cmd.images, "images", "", "up: archives of images for the node, separated by commas")
	flags.BoolVar(&cmd.keep, "keep", false, "down: keep the data")
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "cluster %s: unknown argument %q\n", name, flags.Arg(0))
		return 2
	}
	if err := actions[name](cmd, ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // what was cut short by it is no news
		}
		fmt.Fprintf(stderr, "cluster %s: %v\n", name, err)
		if missing, ok := errors.AsType[*cluster.NodeError](err); ok && len(missing.Packages) == 0 {
			return exitNoRights
		}
		return 1
	}
	return 0
}

// exitNoRights says that the machine lacks rights for a node, and no package.
const exitNoRights = 3

type command struct {
	dir               string
	apiPort, etcdPort int
	keep, node        bool
	images            string
	stdout, stderr    io.Writer
}

func (c command) up(ctx context.Context) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	old, err := cluster.LoadState(c.dir)
	if err != nil {
		return err
	}
	running, ended := old.Split()
	switch {
	case len(running) > 0 && !old.Ready:
		return fmt.Errorf("a start was killed before it finished and left %s: run `make cluster-down` first", names(running))
	case len(running) > 0 && len(ended) > 0:
		return fmt.Errorf("of an earlier start only %s still run, and %s ended (logs in %s): run `make cluster-down` first",
			names(running), names(ended), filepath.Join(c.dir, "log"))
	case len(running) > 0:
		fmt.Fprintf(c.stdout, "Already running since %s, nothing changed.\n", old.Started.Format(time.DateTime))
		c.describe(old)
		return nil
	}

	resumed := exists(filepath.Join(c.dir, "etcd"))
	began := time.Now()
	control, err := cluster.Start(ctx, cluster.Config{
		Dir:               c.dir,
		APIPort:           c.apiPort,
		EtcdPort:          c.etcdPort,
		ControllerManager: true,
		Node:              c.node,
		Images:            strings.FieldsFunc(c.images, func(r rune) bool { return r == ',' }),
		Detached:          true,
		Build:             cluster.BuildConfig{Progress: c.stderr},
	})
	if taken, ok := errors.AsType[*cluster.PortError](err); ok {
		option := "API_PORT"
		if taken.Port == c.etcdPort {
			option = "ETCD_PORT"
		}
		err = fmt.Errorf("%w: stop it, or choose another port with `make cluster-up %s=PORT`", taken, option)
	}
	if err != nil {
		// Logs are left to be read, unless they can say nothing.
		if !resumed && (ctx.Err() != nil || errors.As(err, new(*cluster.PortError))) {
			err = errors.Join(err, c.remove())
		}
		return err
	}
	if err := c.linkKubectl(control.Binary); err != nil {
		return errors.Join(err, control.Stop())
	}
	now, err := cluster.LoadState(c.dir)
	if err != nil {
		return errors.Join(err, control.Stop())
	}
	what := "started"
	if resumed {
		what = "started again, with the objects it had,"
	}
	fmt.Fprintf(c.stdout, "Kubernetes %s %s in %.1f s.\n", cluster.Version, what, time.Since(began).Seconds())
	c.describe(now)
	return nil
}

func (c command) down(context.Context) error {
	if !exists(c.dir) {
		fmt.Fprintf(c.stdout, "Nothing runs: there is no %s.\n", c.dir)
		return nil
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	old, err := cluster.LoadState(c.dir)
	if err != nil {
		return err
	}
	running, _ := old.Split()
	for _, process := range slices.Backward(running) {
		if err := process.Stop(10 * time.Second); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "Stopped %s (process %d).\n", process.Name, process.PID)
	}
	if len(running) == 0 {
		fmt.Fprintln(c.stdout, "Nothing runs.")
	}
	if err := old.ReleaseNode(); err != nil {
		return err
	}
	if c.keep {
		fmt.Fprintf(c.stdout, "Kept its data in %s for the next up.\n", c.dir)
		return cluster.ForgetState(c.dir)
	}
	return c.remove()
}

func (c command) status(context.Context) error {
	old, err := cluster.LoadState(c.dir)
	if err != nil {
		return err
	}
	running, ended := old.Split()
	if len(running) == 0 {
		fmt.Fprintln(c.stdout, "Nothing runs.")
		return nil
	}
	fmt.Fprintf(c.stdout, "Kubernetes %s runs since %s.\n", old.Version, old.Started.Format(time.DateTime))
	for _, process := range old.Processes {
		condition := "runs"
		if slices.Contains(ended, process) {
			condition = "HAS ENDED"
		}
		fmt.Fprintf(c.stdout, "  %-24s process %-8d %s\n", process.Name, process.PID, condition)
	}
	c.describe(old)
	return nil
}

func (c command) check(context.Context) error {
	if err := cluster.CheckNode(); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, "This machine can run a node.")
	return nil
}

func (c command) build(ctx context.Context) error {
	binary, err := cluster.Build(ctx, cluster.BuildConfig{Progress: c.stderr})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Kubernetes %s: %s\n", cluster.Version, binary)
	return nil
}

func (c command) describe(s cluster.State) {
	kubeconfig, kubectl := filepath.Join(c.dir, "kubeconfig"), filepath.Join(c.dir, "kubectl")
	fmt.Fprintf(c.stdout, `
  API server  %s
  issuer      %s
  kubeconfig  %s
  logs        %s

Try: KUBECONFIG=%s %s get namespaces
`, s.URL, s.Issuer, kubeconfig, filepath.Join(c.dir, "log"), kubeconfig, dotSlash(kubectl))
}

// dotSlash makes a path into something that a shell runs.
func dotSlash(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return "./" + path
}

// linkKubectl offers the binary as kubectl: the name chooses the program.
func (c command) linkKubectl(binary string) error {
	link := filepath.Join(c.dir, "kubectl")
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(binary, link)
}

// lock keeps two calls on the same folder apart. It ends with this process in any case.
func (c command) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another up or down is at work on %s: %w", c.dir, err)
	}
	return func() { f.Close() }, nil
}

// remove removes what up made, and the folder if nothing else is in it.
func (c command) remove() error {
	errs := []error{cluster.RemoveData(c.dir)}
	for _, name := range []string{"kubectl", "lock"} {
		errs = append(errs, os.RemoveAll(filepath.Join(c.dir, name)))
	}
	if entries, err := os.ReadDir(c.dir); err == nil && len(entries) == 0 {
		errs = append(errs, os.Remove(c.dir))
	}
	return errors.Join(errs...)
}

func names(processes []cluster.Process) string {
	var names []string
	for _, process := range processes {
		names = append(names, process.Name)
	}
	return strings.Join(names, " and ")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
