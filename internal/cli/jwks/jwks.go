package jwks

import (
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/finding"
	"azwi/internal/oidc"
)

// New makes the command.
func New(r *command.Env) *cobra.Command {
	var files []string
	var output string
	cmd := &cobra.Command{
		Use:   "jwks --public-keys FILE[,FILE...]",
		Short: "Write the key set that a service account issuer publishes",
		Example: `  azwi jwks --public-keys sa.pub --output-file jwks.json
  azwi jwks --public-keys new.pub,old.pub`,
		Annotations: map[string]string{command.Docs: "docs/jwks.md"},
		Args:        command.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			return jwks(r, files, output)
		},
	}
	cmd.Flags().StringSliceVar(&files, "public-keys", nil, "PEM files of public keys; list the old key too while tokens of it are in use")
	cmd.Flags().StringVar(&output, "output-file", "", "file to write (default: standard output)")
	return cmd
}

// MaxKeyFile bounds a key file, in bytes.
const MaxKeyFile = 1 << 20

func jwks(r *command.Env, files []string, output string) error {
	files = slices.DeleteFunc(files, func(name string) bool { return name == "" })
	if len(files) == 0 {
		return errors.New("--public-keys is required: the files that the API server's --service-account-key-file names")
	}
	var keys []crypto.PublicKey
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("public keys: %w", err)
		}
		info, err := file.Stat()
		var raw []byte
		if err == nil {
			raw, err = io.ReadAll(io.LimitReader(file, MaxKeyFile+1))
		}
		file.Close()
		if err != nil {
			return fmt.Errorf("public keys: %w", err)
		}
		if len(raw) > MaxKeyFile {
			return fmt.Errorf("public keys: %s has more than %d bytes", name, MaxKeyFile)
		}
		if there, err := os.Stat(output); err == nil && os.SameFile(there, info) {
			return fmt.Errorf("--output-file %s is one of the public keys, which it would replace: name another file", output)
		}
		parsed, private, err := oidc.ParsePublicKeys(raw)
		if err != nil {
			return fmt.Errorf("public keys: %s: %w", name, err)
		}
		if private {
			r.Err.Printf("warning: %s\n", finding.PrivateKey(name).Text())
		}
		if slices.ContainsFunc(parsed, func(key crypto.PublicKey) bool { _, isRSA := key.(*rsa.PublicKey); return !isRSA }) {
			r.Err.Printf("warning: %s\n", finding.ECKey(name).Text())
		}
		keys = append(keys, parsed...)
	}
	set, err := oidc.KeySet(keys)
	if err != nil {
		return fmt.Errorf("public keys: %w", err)
	}
	raw, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if output == "" {
		_, err = r.Data.Write(raw)
		return err
	}
	return os.WriteFile(output, raw, 0o644) // public by purpose
}
