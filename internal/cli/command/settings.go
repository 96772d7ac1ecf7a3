package command

import (
	"cmp"
	"errors"
	"flag"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/loglevel"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/settings"
	"azwi/internal/version"
)

// SettingsFlags are the flags of injection's settings.
type SettingsFlags struct {
	flags settings.Flags
	// options stand for variables of the environment.
	options map[string]*string
}

// Settings adds the flags of injection's settings, which are rarely given by hand. A flag
// that the command has already stays as it is.
func Settings(c *cobra.Command) SettingsFlags {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	given := SettingsFlags{settings.Register(fs), map[string]*string{}}
	c.Flags().AddGoFlagSet(fs)
	for _, s := range contract.Settings() {
		if c.Flags().Lookup(s.Option) == nil && s.Option != "" {
			given.options[s.Env] = c.Flags().String(s.Option, "", s.Doc+" (default $"+s.Env+")")
		}
		if s.Env != contract.EnvTenantID { // the one that is always needed
			InGroup(c.Flags(), Injection, cmp.Or(s.Flag, s.Option))
		}
		if s.Type.Kind == contract.Choice {
			Complete(c, s.Flag, s.Type.Values...)
		}
	}
	return given
}

// Settings checks the flags and the environment together; image is the proxy's where
// neither names one.
func (f SettingsFlags) Settings(getenv func(string) string, image string) (inject.Settings, error) {
	return f.flags.Settings(func(name string) string {
		if option := f.options[name]; option != nil && *option != "" {
			return *option
		}
		return getenv(name)
	}, image)
}

// InjectionFlags say how pods are injected: the settings, and the proxy's log level.
type InjectionFlags struct {
	settings SettingsFlags
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
