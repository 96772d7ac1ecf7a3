package finding

// What is wrong with the keys of an issuer.

// PrivateKey is a file that nobody but the API server should have.
func PrivateKey(file string) Finding {
	return found(CodePrivateKey, Subject{}, "%s has a private key, with which anyone can sign tokens of this issuer: only its public half was written; "+
		"keep the file on the API server, and give this command the public key (openssl pkey -pubout)", file)
}

// ECKey is a file with a key that Entra does not take.
func ECKey(file string) Finding {
	return found(CodeECKey, Subject{}, "%s has an EC key: Microsoft Entra accepts RSA keys only, and refuses the tokens that this key signs (AADSTS%d); give the API server an RSA key", file, AADSTSAlgorithm)
}
