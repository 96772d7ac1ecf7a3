// Package sts is Entra's token service: instance discovery, the OpenID
// configuration, the signing keys and the token endpoint of versions 1 and 2 for
// the client credentials grant. It decides who gets a token and which error the
// others get; packages directory, replication, issuer and accesstoken hold what
// it decides upon.
package sts
