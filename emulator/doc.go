// Package emulator is a local Microsoft Entra with the parts of Azure that
// workload identity needs: the token service, Microsoft Graph and Azure Resource
// Manager as far as federation uses them, and a Key Vault that accepts the
// tokens. Unmodified Azure clients can't tell it from the cloud, and it fails as
// honestly as the cloud does: assertions are really verified, new credentials
// take their time to spread, and faults can be ordered.
//
// It is for development and tests. It never contacts Azure, and nothing it
// issues is accepted there. Package emulatortest starts one inside a Go test.
package emulator
