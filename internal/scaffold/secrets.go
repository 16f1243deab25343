package scaffold

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

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

// UnusableHash returns a hash that belongs to no password, in the form of a good one: for
// plans that are shown and not written.
func UnusableHash() secret.Text {
	return secret.New("$2y$10$" + strings.Repeat(".", 53))
}

// RegistrySecrets are the secrets in the registry's configuration.
type RegistrySecrets struct {
	HTTP  secret.Text // http.secret
	Azure secret.Text // account key or client secret
	Proxy secret.Text // proxy.password, of the pull-through cache
}

// ReadRegistrySecrets takes the secrets out of a registry's configuration, which a person
// may have changed. path is for the message. What is not there stays zero. The error quotes nothing of the file.
func ReadRegistrySecrets(path string, data []byte) (RegistrySecrets, error) {
	var file struct {
		HTTP struct {
			Secret string `yaml:"secret"`
		} `yaml:"http"`
		Proxy struct {
			Password string `yaml:"password"`
		} `yaml:"proxy"`
		Storage struct {
			Azure struct {
				AccountKey  string `yaml:"accountkey"`
				Credentials struct {
					Secret string `yaml:"secret"`
				} `yaml:"credentials"`
			} `yaml:"azure"`
		} `yaml:"storage"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		return RegistrySecrets{}, fmt.Errorf("%s is not YAML that can be read, and the secrets in it must survive", path)
	}
	s := RegistrySecrets{HTTP: secret.New(file.HTTP.Secret), Azure: secret.New(file.Storage.Azure.AccountKey), Proxy: secret.New(file.Proxy.Password)}
	if s.Azure.IsZero() {
		s.Azure = secret.New(file.Storage.Azure.Credentials.Secret)
	}
	return s, nil
}

// S3Keys returns the keys in the section [default] of an AWS credentials file. The
// error says what is missing, and quotes nothing of the file.
func S3Keys(file secret.Text) (keyID, secretKey secret.Text, err error) {
	section, found := "", map[string]secret.Text{}
	for i, line := range strings.Split(file.Reveal(), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";"):
		case strings.HasPrefix(line, "["):
			if !strings.HasSuffix(line, "]") {
				return keyID, secretKey, fmt.Errorf("line %d: expected [SECTION]", i+1)
			}
			section = strings.TrimSpace(strings.Trim(line, "[]"))
		default:
			k, value, ok := strings.Cut(line, "=")
			if !ok {
				return keyID, secretKey, fmt.Errorf("line %d: expected KEY = VALUE", i+1)
			}
			if value = strings.TrimSpace(value); section == "default" && value != "" {
				found[strings.ToLower(strings.TrimSpace(k))] = secret.New(value)
			}
		}
	}
	for _, k := range []string{"aws_access_key_id", "aws_secret_access_key"} {
		if _, ok := found[k]; !ok {
			return keyID, secretKey, fmt.Errorf("section [default] has no %s", k)
		}
	}
	return found["aws_access_key_id"], found["aws_secret_access_key"], nil
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

// eventsSecret is what the registry's notifications bring to the listener for them. A new one
// comes from the registry's own secret, so that both sides agree after any change of the answers.
func (m Material) eventsSecret() secret.Text {
	if !m.EventsSecret.IsZero() {
		return m.EventsSecret
	}
	mac := hmac.New(sha256.New, []byte(m.HTTPSecret.Reveal()))
	mac.Write([]byte("regctl-setup: the registry's events"))
	return secret.New(hex.EncodeToString(mac.Sum(nil)))
}

// ReadEventsSecret takes the secret out of the file that a listener for the registry's reports
// reads; zero where it holds none that the listener would take: one line of 16 to 4096
// printable bytes.
func ReadEventsSecret(data []byte) secret.Text {
	text := strings.TrimSpace(string(data))
	if len(text) < 16 || len(text) > 4096 || strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return secret.Text{}
	}
	return secret.New(text)
}
