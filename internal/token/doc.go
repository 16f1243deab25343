// Package token signs the access tokens that registries ask for, and reads them back.
//
// A token is a JWT (RFC 7519) in compact form. Claims:
//
//	iss     the issuer, as in the registry's configuration
//	sub     the account; "" for anonymous
//	aud     the registry's service name, one string: registry 2.8 refuses a list
//	exp     iat + lifetime, in seconds
//	nbf     iat - 10
//	iat     now
//	jti     16 random bytes in base64url
//	access  [{"type","name","actions"}], one element for each scope asked for; [] for none
//
// Header: typ "JWT", alg (RS256 for RSA; ES256, ES384, ES512 by curve), kid (see package keys), and
// x5c, the certificate chain. x5c is what registries 2.8, 3.0 and 3.1 all accept whatever the kid;
// but they check its dates, which they do not with a kid alone. So in mode "auto" an out of date
// chain is left out, and [Issuer.Warnings] says so. The header "jwk" is never written: a registry
// 3 beta trusted such a key by its id alone (CVE-2025-24976).
//
// The package writes tokens itself, over crypto.Signer, and reads them with go-jose. Writing means
// joining two base64 texts and a signature; go-jose encodes the header with its certificates anew for
// every token, which takes about six times as long (50 µs against 8 µs with an RSA 4096 certificate,
// BenchmarkOverheadJose) and would leave little of the goal: one raw signature plus 60 µs. Reading is
// where the traps are, and no client waits for it.
//
//	issuer, err := token.New(token.Options{Issuer: "regctl-setup", Pair: pair, LegacyKeyID: true})
//	…
//	t, err := issuer.Issue(token.Request{
//		Subject: "alice", Audience: "registry.example.com", Lifetime: 15 * time.Minute,
//		Access: []token.Access{{Type: "repository", Name: "a/b", Actions: []string{"pull"}}},
//	})
package token
