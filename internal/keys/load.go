package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

const (
	// maxFile bounds key and certificate files, in bytes.
	maxFile    = 1 << 20
	minRSABits = 2048
	// maxRSABits keeps one signature, and a client's one verification, within milliseconds.
	maxRSABits = 16384
)

// LoadOptions of LoadPair.
type LoadOptions struct {
	// AllowReadableKey accepts a key file that its group or everybody may read: secrets mounted
	// by orchestrators are often like that. (On Windows modes say nothing and are not looked at.)
	AllowReadableKey bool
	// TLS is for a pair that serves TLS and signs no tokens: Ed25519 is then accepted.
	TLS bool
}

// LoadError says what is wrong with a key or certificate file and what to do about it.
type LoadError struct {
	Path   string
	Reason string
	Remedy string // may be empty
	Err    error  // may be nil
}

// Error returns `PATH: REASON: CAUSE`.
func (e *LoadError) Error() string {
	s := fmt.Sprintf("%q: %s", e.Path, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *LoadError) Unwrap() error { return e.Err }

// Hint returns what to do, or "".
func (e *LoadError) Hint() string { return e.Remedy }

// LoadPair reads a private key and its certificate chain from PEM files. The errors are *LoadError;
// all problems of both files come together, joined.
//
// Refused are: RSA keys under 2048 bits, keys that not all registries can use, encrypted keys, a key
// file that others may read, and a certificate of another key. A certificate that is out of date is
// not an error: see Pair.CheckDates.
func LoadPair(keyPath, certPath string, o LoadOptions) (*Pair, error) {
	signer, keyErr := LoadKey(keyPath, o)
	chain, certErr := LoadCertificates(certPath)
	if err := errors.Join(keyErr, certErr); err != nil {
		return nil, err
	}
	pub := signer.Public()
	if equalKeys(chain[0].PublicKey, pub) {
		return &Pair{Signer: signer, Chain: chain}, nil
	}
	e := &LoadError{
		Path: certPath, Reason: fmt.Sprintf("the certificate is not one of the key %q", keyPath),
		Remedy: "keep key and certificate of one run together; \"regctl-setup keys verify\" compares them",
	}
	for i, c := range chain[1:] {
		if equalKeys(c.PublicKey, pub) {
			e.Reason = fmt.Sprintf("the key %q belongs to certificate %d of the file", keyPath, i+2)
			e.Remedy = "put the signing certificate first in the file"
		}
	}
	return nil, e
}

// LoadCertificates reads the certificates of a PEM file.
func LoadCertificates(path string) ([]*x509.Certificate, error) {
	data, err := readFile(path, "certificate", nil)
	if err != nil {
		return nil, err
	}
	certs, err := ParseBundle(data)
	if err != nil {
		return nil, &LoadError{Path: path, Reason: "can't read a certificate from it", Err: err, Remedy: pemHint(data, "certificate")}
	}
	return certs, nil
}

// LoadKey reads a private key from a PEM file: PKCS #8, PKCS #1 or SEC 1.
func LoadKey(path string, o LoadOptions) (crypto.Signer, error) {
	check := func(info fs.FileInfo) error {
		mode := info.Mode().Perm()
		if o.AllowReadableKey || runtime.GOOS == "windows" || mode&0o077 == 0 {
			return nil
		}
		who := "everybody"
		if mode&0o007 == 0 {
			who = "its group"
		}
		return &LoadError{
			Path: path, Reason: fmt.Sprintf("the private key is open to %s (mode %04o)", who, mode),
			Remedy: fmt.Sprintf("chmod 600 %s", shellQuote(path)),
		}
	}
	data, err := readFile(path, "private key", check)
	if err != nil {
		return nil, err
	}
	signer, err := parseKey(data, o)
	if err != nil {
		var e *LoadError
		if errors.As(err, &e) {
			e.Path = path
			return nil, e
		}
		return nil, &LoadError{Path: path, Reason: "can't read a private key from it", Err: err, Remedy: pemHint(data, "private key")}
	}
	return signer, nil
}

// readFile reads a small regular file. check sees the file that was opened, not the one that may
// have its name a moment later.
func readFile(path, what string, check func(fs.FileInfo) error) ([]byte, error) {
	file, err := openFile(path)
	if err != nil {
		e := &LoadError{Path: path, Reason: "can't open the " + what, Err: cause(err)}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e.Reason = "there is no such " + what + " file"
			e.Err = fs.ErrNotExist
			e.Remedy = "\"regctl-setup keys generate\" makes a key and its certificate"
		case errors.Is(err, fs.ErrPermission):
			e.Remedy = "run the command as the owner of the file"
		}
		return nil, e
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return nil, &LoadError{Path: path, Reason: "can't look at the " + what, Err: cause(err)}
	}
	if info.IsDir() {
		return nil, &LoadError{Path: path, Reason: "it is a directory, not a " + what + " file"}
	}
	if !info.Mode().IsRegular() {
		return nil, &LoadError{Path: path, Reason: "it is not a regular file"}
	}
	if check != nil {
		if err := check(info); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, &LoadError{Path: path, Reason: "can't read the " + what, Err: cause(err)}
	}
	if len(data) > maxFile {
		return nil, &LoadError{Path: path, Reason: fmt.Sprintf("it is longer than %d bytes: that is no %s", maxFile, what)}
	}
	return data, nil
}

// cause takes the path out of an error, which LoadError says itself.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func parseKey(data []byte, o LoadOptions) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("there is no private key in it (no \"-----BEGIN PRIVATE KEY-----\")")
		}
		var (
			key any
			err error
		)
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, &LoadError{
				Reason: "the private key is encrypted, and nobody is there to type the pass phrase when the server starts",
				Remedy: "decrypt it: openssl pkey -in OLD -out NEW (with umask 077), and protect the file instead",
			}
		case block.Type == "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case block.Type == "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case block.Type == "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case block.Type == "OPENSSH PRIVATE KEY":
			return nil, &LoadError{
				Reason: "the private key is in OpenSSH's own format",
				Remedy: "convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY",
			}
		default: // certificates, "EC PARAMETERS"
			continue
		}
		if err != nil {
			return nil, err
		}
		return checkKey(key, o)
	}
}

func checkKey(key any, o LoadOptions) (crypto.Signer, error) {
	const generate = "make a new pair: \"regctl-setup keys generate\""
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits < minRSABits {
			return nil, &LoadError{Reason: fmt.Sprintf("the RSA key has %d bits; under %d it can be broken", bits, minRSABits), Remedy: generate}
		} else if bits > maxRSABits {
			return nil, &LoadError{Reason: fmt.Sprintf("the RSA key has %d bits; over %d every token takes too long", bits, maxRSABits), Remedy: generate}
		}
		return k, nil
	case *ecdsa.PrivateKey:
		if _, err := Algorithm(k.Public()); err != nil {
			return nil, &LoadError{Reason: err.Error(), Remedy: generate}
		}
		return k, nil
	case ed25519.PrivateKey:
		if o.TLS {
			return k, nil
		}
		return nil, &LoadError{Reason: "Ed25519 keys can't be used: registry 2.8 stops at start when it is given such a certificate", Remedy: generate}
	}
	return nil, &LoadError{Reason: fmt.Sprintf("keys of type %T can't sign tokens", key), Remedy: generate}
}

// pemHint guesses what is in a file that has not what it should.
func pemHint(data []byte, want string) string {
	block, _ := pem.Decode(data)
	switch {
	case len(data) == 0:
		return "the file is empty"
	case block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY") && want == "certificate":
		return "it holds a private key: are the two paths in the wrong order?"
	case block != nil && block.Type == "CERTIFICATE" && want == "private key":
		return "it holds a certificate: are the two paths in the wrong order?"
	case block == nil && data[0] == 0x30:
		return "it looks like DER; convert it to PEM: openssl x509 or openssl pkey with -inform DER"
	}
	return ""
}

// shellQuote makes a path safe to paste into a shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,@:", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 && s[0] != '-' {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|nonblock, 0)
}
