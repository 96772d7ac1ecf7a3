package cli

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"azwi/internal/oidc"
)

func newJWKSCommand(r *root) *cobra.Command {
	var files []string
	var output string
	cmd := &cobra.Command{
		Use:   "jwks --public-keys FILE[,FILE...]",
		Short: "Write the key set that a service account issuer publishes",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return jwks(r.data, files, output)
		},
	}
	cmd.Flags().StringSliceVar(&files, "public-keys", nil, "PEM files of public keys; list the old key too while tokens of it are in use")
	cmd.Flags().StringVar(&output, "output-file", "", "file to write (default: standard output)")
	return cmd
}

// maxKeyFile bounds a key file, in bytes.
const maxKeyFile = 1 << 20

func jwks(stdout io.Writer, files []string, output string) error {
	if len(files) == 0 {
		return errors.New("--public-keys is required: the files that the API server's --service-account-key-file names")
	}
	var keys []crypto.PublicKey
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("public keys: %w", err)
		}
		raw, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
		file.Close()
		if err != nil {
			return fmt.Errorf("public keys: %w", err)
		}
		parsed, err := oidc.ParsePublicKeys(raw)
		if err != nil {
			return fmt.Errorf("public keys: %s: %w", name, err)
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
		_, err = stdout.Write(raw)
		return err
	}
	return os.WriteFile(output, raw, 0o644) // public by purpose
}
