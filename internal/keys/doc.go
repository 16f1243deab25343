// Package keys makes and reads what tokens are signed with and what registries trust: the signing
// key, its certificate, key ids, the JWKS file and the certificate bundle.
//
// One key has two names, and registries disagree on them:
//
//   - the libtrust id (registry 2.8, docker_auth's default): the SHA-256 of the DER
//     SubjectPublicKeyInfo, its first 30 bytes in base32, in 12 groups of four joined by ":";
//   - the RFC 7638 thumbprint (registry 3): the SHA-256 of the key's members as JSON in
//     alphabetic order without spaces, in base64url.
//
// [JWKS] lists every key under both, so that a registry 3 accepts either. A registry 2.8 reads only
// the bundle, which [Bundle] makes.
//
// Certificates are self-signed, live long and are their own root: what registries check is whether
// the certificate is one of the bundle, not who issued it. [GenerateCA] and [CA.IssueLeaf] make the
// other shape, a signing certificate below a root that stays in the bundle while keys change.
//
//	pair, err := keys.Generate(keys.RSA4096, keys.Options{CommonName: "registry.example.com token signing"})
//	…
//	err = safefile.CreateExclusive("conf/keys/server.key", []byte(pair.KeyPEM().Reveal()), 0o600)
//
// Ed25519 is neither made nor read: registry 2.8 panics at start when its bundle holds such a
// certificate.
package keys
