// Package emulatortest runs an emulator inside a Go test.
//
//	cloud := emulatortest.Start(t, emulator.Config{})
//	cred, err := azidentity.NewClientSecretCredential(
//		emulator.DefaultTenantID, emulator.DefaultOperatorID, emulator.DefaultOperatorSecret,
//		&azidentity.ClientSecretCredentialOptions{
//			DisableInstanceDiscovery: true,
//			ClientOptions: azcore.ClientOptions{
//				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: cloud.AuthorityURL},
//				Transport: cloud.Client(),
//			},
//		})
package emulatortest
