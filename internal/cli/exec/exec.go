package exec

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/atomicfile"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/cli/exchange"
	"azwi/internal/token"
	"azwi/internal/token/entra"
	"azwi/internal/token/imds"
	"azwi/internal/token/proxy"
)

// New makes the command.
func New(r *command.Env) *cobra.Command {
	o := execCommand{workload: exchange.Options{Lifetime: sessionLifetime}}
	cmd := &cobra.Command{
		Use:   "exec --service-account NAMESPACE/NAME -- COMMAND [ARGUMENT...]",
		Short: "Run a command with the credentials of a service account",
		Long: `Run a command with the credentials of a service account, as if it ran in a pod.

Exit code: the command's own; 128 + signal; 126, 127 if it can't be started.`,
		Annotations: map[string]string{command.Docs: "docs/token.md"},
		Example: `  azwi exec --service-account shop/orders -- az account show
  azwi exec --service-account shop/orders -- go test ./...
  azwi exec --service-account shop/orders --az-login -- bash`,
		Args: needsCommand,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), r, args) },
	}
	cmd.Flags().SetInterspersed(false) // what follows the command is its own
	o.workload.Register(cmd, false)
	cmd.Flags().BoolVar(&o.azLogin, "az-login", false, "sign az in even if the command is not az itself, such as a script or shell")
	return cmd
}

// needsCommand requires a command to run, and shows the right form if none is given.
func needsCommand(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return nil
	}
	return fmt.Errorf("no command is given: write it after two dashes: %s --service-account NAMESPACE/NAME -- COMMAND", c.CommandPath())
}

type execCommand struct {
	workload exchange.Options
	azLogin  bool
}

const (
	// sessionLifetime is that of the service account's tokens: clients keep what
	// they read from the token file for ten minutes.
	sessionLifetime = time.Hour
	// refreshPause is how often the token file is looked after; a new token is
	// written when half of the old one's life is over.
	refreshPause = time.Minute
)

// sessionPrefix begins the name of a session's folder, and sessionLock is a file in
// it that is locked while its azwi runs.
const (
	sessionPrefix = "azwi-exec-"
	sessionLock   = "lock"
)

// A session is what the command finds in its environment.
type session struct {
	workload exchange.Workload
	log      *slog.Logger
	// dir is for this session alone.
	dir string
	// secret is the first part of the endpoint's path, and what its headers must
	// have.
	secret  string
	port    int
	written string // what the token file holds

	background sync.WaitGroup
}

func (o *execCommand) run(ctx context.Context, r *command.Env, args []string) (err error) {
	if len(o.workload.Accounts) > 1 {
		return errors.New("--service-account: one at a time")
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return cantStart(args[0], err)
	}
	workloads, err := o.workload.Workloads(ctx, r)
	if err != nil {
		return err
	}
	s := &session{workload: workloads[0], log: slog.New(slog.DiscardHandler), secret: randomSecret()}
	if r.Debug {
		s.log = r.Log
	}
	if err := removeLeft(os.TempDir()); err != nil {
		r.Log.Warn("files of an earlier azwi exec that was killed can't be removed", "error", err)
	}
	if s.dir, err = os.MkdirTemp("", sessionPrefix); err != nil { // mode 0700
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	held, err := holdSession(s.dir)
	if err != nil {
		return err
	}
	defer held.Close()
	if err := s.prepare(ctx, r); err != nil {
		return err
	}
	// The endpoint must live as long as the command, which may take its time after
	// a signal.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended, err := s.serve(serving)
	if err != nil {
		stop()
		return err
	}
	defer func() {
		stop()
		s.background.Wait()
		if failed := <-ended; err == nil {
			err = failed
		}
	}()
	environment := s.environment(os.Environ(), o.workload.Cloud)
	if name := strings.TrimSuffix(filepath.Base(program), ".exe"); o.azLogin || name == "az" && !slices.Contains(args[1:], "login") {
		if err := azLogin(ctx, environment); err != nil {
			return errors.Join(err, s.whyNot(ctx))
		}
	}
	child := exec.CommandContext(serving, program, args[1:]...)
	child.Args[0] = args[0]
	child.Env, child.Stdin, child.Stdout, child.Stderr = environment, r.Streams.In, r.Streams.Out, r.Streams.Err
	return runForwarding(child)
}

// prepare writes the files.
func (s *session) prepare(ctx context.Context, r *command.Env) error {
	assertion, _, err := s.workload.Assertions(ctx)
	if err != nil {
		return err
	}
	// A copy also of a pod's own: some clients send the file as it is, and a
	// newline at its end is refused.
	if err := s.write(assertion); err != nil {
		return err
	}
	// az's settings are kept, its sign-ins are not.
	if err := os.Mkdir(s.azDir(), 0o700); err != nil {
		return err
	}
	old := r.Getenv("AZURE_CONFIG_DIR")
	if old == "" {
		old = filepath.Join(r.Getenv("HOME"), ".azure")
	}
	for _, name := range []string{"config", "clouds.config"} {
		raw, err := os.ReadFile(filepath.Join(old, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(s.azDir(), name), raw, 0o600)
		}
		if err != nil {
			return fmt.Errorf("az's settings: %w", err)
		}
	}
	return nil
}

func (s *session) tokenFile() string { return filepath.Join(s.dir, contract.TokenFileName) }

func (s *session) azDir() string { return filepath.Join(s.dir, "azure") }

// write replaces the token file at once: readers see the old token or the new one.
func (s *session) write(assertion string) error {
	if assertion == s.written {
		return nil
	}
	if err := atomicfile.Write(s.tokenFile(), []byte(assertion), 0o600); err != nil {
		return err
	}
	s.written = assertion
	return nil
}

// serve serves the endpoint and looks after the token file until ctx ends; ended
// then has the result.
func (s *session) serve(ctx context.Context) (ended <-chan error, err error) {
	start := time.Now().Round(0)
	source, err := token.New(ctx, token.Config{
		Exchange: s.exchange, Logger: s.log,
		// By the wall clock: a person's machine sleeps more often than its clock is
		// changed.
		Elapsed: func() time.Duration { return time.Now().Round(0).Sub(start) },
	})
	if err != nil {
		return nil, err
	}
	metrics := new(proxy.Metrics)
	server, err := proxy.NewServer(ctx, proxy.ServerConfig{
		Handler: &proxy.Handler{
			Tokens: source, Authority: s.workload.Cloud.AuthorityHost,
			Identities: proxy.Identities{Default: proxy.Identity{ClientID: s.workload.ClientID, TenantID: s.workload.TenantID}},
			Parser:     imds.Parser{Secret: s.secret, SecretOnly: true}, Metrics: metrics, Logger: s.log,
		},
		DrainTimeout: time.Second, Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	s.port = server.Port()
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	s.background.Go(func() { s.refresh(ctx) })
	return done, nil
}

func (s *session) exchange(ctx context.Context, k token.Key) (entra.Token, error) {
	assertion, _, err := s.workload.Assertions(ctx)
	if err != nil {
		return entra.Token{}, err
	}
	return s.workload.Exchanger.Exchange(ctx, entra.ExchangeRequest{
		TenantID: k.TenantID, ClientID: k.ClientID, Resource: k.Resource, Claims: k.Claims, Assertion: assertion,
	})
}

func (s *session) refresh(ctx context.Context) {
	ticker := time.NewTicker(refreshPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		assertion, _, err := s.workload.Assertions(ctx)
		if err == nil {
			err = s.write(assertion)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("the token file is not renewed", "error", err)
		}
	}
}

// environment is old with what the session gives, and without what would lead
// clients to another identity.
func (s *session) environment(old []string, cloud connect.Azure) []string {
	endpoint := fmt.Sprintf("http://127.0.0.1:%d/%s%s", s.port, s.secret, contract.ProxyEnvPath)
	set := map[string]string{
		contract.EnvClientID: s.workload.ClientID, contract.EnvTenantID: s.workload.TenantID,
		contract.EnvFederatedTokenFile: s.tokenFile(), contract.EnvAuthorityHost: s.workload.Cloud.AuthorityHost,
		contract.EnvIdentityEndpoint: endpoint, contract.EnvIdentityHeader: s.secret,
		contract.EnvMSIEndpoint: endpoint, contract.EnvMSISecret: s.secret,
		"AZURE_CONFIG_DIR": s.azDir(),
	}
	if name := azCloud(cloud); name != "" {
		set["AZURE_CLOUD_NAME"] = name
	}
	have := map[string]string{}
	for _, pair := range old {
		name, value, _ := strings.Cut(pair, "=")
		have[name] = value
	}
	if _, ok := have["AZURE_EXTENSION_DIR"]; !ok {
		dir := have["AZURE_CONFIG_DIR"]
		if dir == "" {
			dir = filepath.Join(have["HOME"], ".azure")
		}
		set["AZURE_EXTENSION_DIR"] = filepath.Join(dir, "cliextensions")
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} { // each is read by some clients alone
		set[name] = strings.TrimPrefix(have[name]+",127.0.0.1", ",")
	}
	environment := slices.DeleteFunc(slices.Clone(old), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		_, replaced := set[name]
		return replaced || slices.Contains(otherIdentities(), name)
	})
	for name, value := range set {
		environment = append(environment, name+"="+value)
	}
	return environment
}

// otherIdentities are variables by which Azure's clients would choose another
// credential, or ask another endpoint.
func otherIdentities() []string {
	return []string{
		"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_USERNAME", "AZURE_PASSWORD",
		"AZURE_POD_IDENTITY_AUTHORITY_HOST", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT",
	}
}

// azCloud is az's name for the chosen cloud; empty leaves the choice to az's
// settings.
func azCloud(o connect.Azure) string {
	if o.Authority != "" {
		return ""
	}
	cloud, err := entra.CloudByName(o.Environment)
	if err != nil {
		cloud = entra.Clouds()[0]
	}
	return cloud.AzName
}

// azLogin signs az in, with its managed identity endpoint.
func azLogin(ctx context.Context, environment []string) error {
	program, err := exec.LookPath("az")
	if err != nil {
		return fmt.Errorf("sign az in: %w", err)
	}
	login := exec.CommandContext(ctx, program, "login", "--identity", "--allow-no-subscriptions", "--output", "none")
	login.Env, login.WaitDelay = environment, time.Second
	var said bytes.Buffer
	login.Stderr = &said
	if err := login.Run(); err != nil {
		return fmt.Errorf("sign az in: az login --identity: %w\n%s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// whyNot finds out what Entra says, since az does not tell.
func (s *session) whyNot(ctx context.Context) error {
	assertion, _, err := s.workload.Assertions(ctx)
	if err != nil {
		return err
	}
	if _, err := s.workload.Token(ctx, s.workload.Cloud.ResourceManagerAudiences[0], ""); err != nil {
		return exchange.TokenAdvice(err, s.workload, assertion)
	}
	return nil
}

// runForwarding runs a command to its end, hands signals on to it, and returns
// its exit code as an error.
func runForwarding(child *exec.Cmd) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)
	// The kernel's promise is about the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	endWithParent(child)
	if err := child.Start(); err != nil {
		return cantStart(child.Path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case s := <-signals:
			if !fromTerminal(s) {
				_ = child.Process.Signal(s) // it may have ended just now
			}
		case err := <-ended:
			failed, ok := errors.AsType[*exec.ExitError](err)
			if !ok {
				return err
			}
			return command.Exit(exitCode(failed), nil)
		}
	}
}

func cantStart(name string, err error) error {
	code := 126 // as shells have it
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = 127
	}
	return command.Exit(code, fmt.Errorf("start %s: %w", name, err))
}

// randomSecret stands in a URL path, where case does not count.
func randomSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}
