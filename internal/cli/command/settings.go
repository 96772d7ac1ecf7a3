package command

import (
	"errors"
	"flag"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/loglevel"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/settings"
	"azwi/internal/version"
)

// Settings adds the flags of injection's settings, which are rarely given by hand.
func Settings(c *cobra.Command) settings.Flags {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	given := settings.Register(fs)
	c.Flags().AddGoFlagSet(fs)
	for _, s := range contract.Settings() {
		if s.Flag == "" {
			continue
		}
		InGroup(c.Flags(), Injection, s.Flag)
		if s.Type.Kind == contract.Choice {
			Complete(c, s.Flag, s.Type.Values...)
		}
	}
	return given
}

// InjectionFlags say how pods are injected: the settings, and the proxy's log level.
type InjectionFlags struct {
	settings settings.Flags
	logLevel string
}

// Register adds the flags.
func (f *InjectionFlags) Register(c *cobra.Command) {
	f.settings = Settings(c)
	c.Flags().StringVar(&f.logLevel, "log-level", "info", "log level of the proxy sidecar: info, debug, trace or all")
	Complete(c, "log-level", "info", "debug", "trace", "all")
}

// Read checks the flags and the environment together.
func (f *InjectionFlags) Read(getenv func(string) string) (inject.Settings, error) {
	_, badLevel := loglevel.Parse(f.logLevel)
	s, err := f.settings.Settings(getenv, version.Image(contract.ProxyImageName))
	s.Proxy.LogLevel = f.logLevel
	return s, errors.Join(badLevel, err)
}
