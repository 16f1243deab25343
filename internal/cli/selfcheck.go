package cli

import "crypto/tls"

// selfCheckTLS accepts any certificate: serve --check asks a server on this machine, at an
// address that its certificate does not name, and sends it nothing secret.
func selfCheckTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // explained above
}
