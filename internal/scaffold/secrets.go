package scaffold

import (
	"encoding/hex"
	"fmt"
	"io"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// NewHTTPSecret makes the registry's http.secret: 256 bits of random as hexadecimal
// digits, which need no quoting anywhere. It fails when random does.
func NewHTTPSecret(random io.Reader) (secret.Text, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(random, b); err != nil {
		return secret.Text{}, fmt.Errorf("make the http secret: %w", err)
	}
	return secret.New(hex.EncodeToString(b)), nil
}

// NewStoreKeys makes the access key and the secret key of a bundled object store, in the
// lengths that S3 clients expect: 20 and 40 letters and digits, 100 and 200 bits of
// random. It fails when random does.
func NewStoreKeys(random io.Reader) (keyID, secretKey secret.Text, err error) {
	id, err := pick(random, 20, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
	if err != nil {
		return secret.Text{}, secret.Text{}, fmt.Errorf("make the store's access key: %w", err)
	}
	key, err := pick(random, 40, "abcdefghijklmnopqrstuvwxyz234567")
	if err != nil {
		return secret.Text{}, secret.Text{}, fmt.Errorf("make the store's secret key: %w", err)
	}
	return secret.New(id), secret.New(key), nil
}

// pick returns n characters of an alphabet of 32, so that a byte picks one without bias.
func pick(random io.Reader, n int, alphabet string) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", err
	}
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b), nil
}
