package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/config"
	"github.com/regctl-setup/regctl-setup/internal/keys"
	"github.com/regctl-setup/regctl-setup/internal/scaffold"
	"github.com/regctl-setup/regctl-setup/internal/secret"
	"github.com/regctl-setup/regctl-setup/internal/users"
)

// kept is what a deployment on disk holds beside its answers.
type kept struct {
	disk    scaffold.Disk
	record  *scaffold.Record
	was     answers.Answers          // what it was generated from last
	base    answers.Answers          // what regctl-setup.yaml says now
	auth    *config.File             // nil: not there
	authBad bool                     // there, and with problems
	secrets scaffold.RegistrySecrets // of the registry
	cache   scaffold.RegistrySecrets // of the pull-through cache

	warnings []error // what had to be made anew
}

func (k *kept) text(path string) secret.Text { return secret.New(string(k.disk.Files[path].Data)) }

func (k *kept) has(path string) bool {
	_, ok := k.disk.Files[path]
	return ok
}

// former is the material that the old answers were planned with, as far as it is on disk.
func (k *kept) former() scaffold.Material {
	m := k.common()
	r := k.was.Resolve()
	m.S3Credentials, m.GCSKey, m.AzureSecret = k.storeSecrets(r)
	m.TLSCertPEM, m.TLSKeyPEM = k.disk.Files[scaffold.PathTLSCert].Data, k.text(scaffold.PathTLSKey)
	if r.BundlesStore() {
		m.StoreKeyID, m.StoreSecret, _ = scaffold.S3Keys(k.text(scaffold.PathS3Keys))
	}
	m.EngineBinary, m.CACerts = k.disk.Files[scaffold.PathEngine].Data, k.disk.Files[scaffold.PathCACerts].Data
	return m
}

// common is the material that no answer changes.
func (k *kept) common() scaffold.Material {
	m := scaffold.Material{
		Project:    k.project(),
		AuthKeyPEM: k.text(scaffold.PathKey), CertPEM: k.disk.Files[scaffold.PathCert].Data,
		Bundle: k.disk.Files[scaffold.PathBundle].Data, JWKS: k.disk.Files[scaffold.PathJWKS].Data,
		HTTPSecret: k.secrets.HTTP, EventsSecret: k.eventsSecret(),
		ACMERoot: k.disk.Files[scaffold.PathACMERoot].Data,
		LDAPCA:   k.disk.Files[scaffold.PathLDAPCA].Data, CachePassword: k.cache.Proxy,
		LoginSecrets: map[string]secret.Text{},
	}
	for login := range loginSecretFiles(k.base) {
		m.LoginSecrets[login] = k.text(scaffold.PathLoginSecret(login))
	}
	m.UID, m.GID = owner()
	env := string(k.disk.Files[scaffold.PathEnv].Data)
	if uid, ok := envNumber(env, "REGISTRY_UID"); ok {
		m.UID = uid
	}
	if gid, ok := envNumber(env, "REGISTRY_GID"); ok {
		m.GID = gid
	}
	if k.auth != nil {
		for _, u := range k.auth.Users {
			if u.Name == "" || !u.HasPassword {
				continue
			}
			h := scaffold.UserHash{Name: u.Name, Hash: u.Hash}
			for _, l := range u.Labels {
				h.Labels = append(h.Labels, answers.Label{Name: l.Key, Values: l.Values})
			}
			m.Users = append(m.Users, h)
		}
	}
	return m
}

// eventsSecret is what the registry's reports bring, wherever the listener for them is or was.
func (k *kept) eventsSecret() secret.Text {
	first, second := scaffold.PathEventsSecret, scaffold.PathAuditSecret
	if k.was.HasAuditService() {
		first, second = second, first
	}
	if s := scaffold.ReadEventsSecret(k.disk.Files[first].Data); !s.IsZero() {
		return s
	}
	return scaffold.ReadEventsSecret(k.disk.Files[second].Data)
}

// project is the compose project's name, which stays with the containers and volumes that
// carry it.
func (k *kept) project() string {
	if k.record != nil && k.record.Project != "" {
		return k.record.Project
	}
	if m := composeName.FindSubmatch(k.disk.Files[scaffold.PathCompose].Data); m != nil {
		return string(m[1])
	}
	return k.was.Resolve().ProjectName()
}

// composeName finds the project's name as init writes it.
var composeName = regexp.MustCompile(`(?m)^name: '([a-z0-9][a-z0-9_-]*)'$`)

var envLine = regexp.MustCompile(`(?m)^(REGISTRY_[UG]ID)=['"]?([0-9]+)['"]?\s*$`)

func envNumber(env, name string) (int, bool) {
	for _, m := range envLine.FindAllStringSubmatch(env, -1) {
		if m[1] == name {
			n, err := strconv.Atoi(m[2])
			return n, err == nil
		}
	}
	return 0, false
}

// storeSecrets returns the credentials on disk that belong to the answers' own storage.
func (k *kept) storeSecrets(r answers.Answers) (s3, gcs, azure secret.Text) {
	switch {
	case r.UsesS3() && !r.BundlesStore() && r.S3.CredentialsFile != "":
		s3 = k.text(scaffold.PathS3Keys)
	case r.Storage == answers.StorageGCS && r.GCS.KeyFile != "":
		gcs = k.text(scaffold.PathGCSKey)
	case r.Storage == answers.StorageAzure:
		azure = k.secrets.Azure
	}
	return s3, gcs, azure
}

// rerunMaterial is the material for the new answers: what is on disk, what they newly
// name, and what is missing, made anew. said reports which flags were given now. The
// accounts are those to be made, with passwords only where make is set: else their
// hashes fit no password, and nothing may be written.
func (a *app) rerunMaterial(k *kept, ans answers.Answers, said func(string) bool, makePasswords bool) (scaffold.Material, []account, error) {
	m := k.common()
	r, was := ans.Resolve(), k.was.Resolve()
	var errs []error
	read := func(flag, path string) secret.Text {
		data, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
		return secret.New(string(data))
	}
	// A file is read again when it was named now, or when its copy is not there.
	renew := func(flag, path, former string, copied bool) bool {
		return path != "" && (said(flag) || path != former || !copied)
	}
	m.S3Credentials, m.GCSKey, m.AzureSecret = k.storeSecrets(r)
	if was.BundlesStore() {
		m.S3Credentials = secret.Text{}
	}
	if r.UsesS3() && !r.BundlesStore() && renew("s3-credentials-file", r.S3.CredentialsFile, was.S3.CredentialsFile, k.has(scaffold.PathS3Keys) && !was.BundlesStore()) {
		m.S3Credentials = read("s3-credentials-file", r.S3.CredentialsFile)
	}
	switch r.Storage {
	case answers.StorageGCS:
		if renew("gcs-key-file", r.GCS.KeyFile, was.GCS.KeyFile, k.has(scaffold.PathGCSKey)) {
			m.GCSKey = read("gcs-key-file", r.GCS.KeyFile)
		}
	case answers.StorageAzure:
		if renew("azure-secret-file", r.Azure.SecretFile, was.Azure.SecretFile, !k.secrets.Azure.IsZero() && was.Azure.Credentials == r.Azure.Credentials) {
			m.AzureSecret = secret.New(strings.TrimSpace(read("azure-secret-file", r.Azure.SecretFile).Reveal()))
		}
	}
	if r.TLS == answers.TLSFiles {
		m.TLSCertPEM, m.TLSKeyPEM = k.disk.Files[scaffold.PathTLSCert].Data, k.text(scaffold.PathTLSKey)
		if renew("tls-cert", r.TLSCert, was.TLSCert, k.has(scaffold.PathTLSCert)) || renew("tls-key", r.TLSKey, was.TLSKey, k.has(scaffold.PathTLSKey)) {
			m.TLSCertPEM = []byte(read("tls-cert", r.TLSCert).Reveal())
			m.TLSKeyPEM = read("tls-key", r.TLSKey)
		}
	}
	if renew("acme-ca-root", r.ACMECARoot, was.ACMECARoot, k.has(scaffold.PathACMERoot)) {
		m.ACMERoot = []byte(read("acme-ca-root", r.ACMECARoot).Reveal())
	}
	former := loginSecretFiles(was)
	for login, path := range loginSecretFiles(r) {
		if renew(loginSecretFlag(login), path, former[login], k.has(scaffold.PathLoginSecret(login))) {
			m.LoginSecrets[login] = secret.New(strings.TrimSpace(read(loginSecretFlag(login), path).Reveal()))
		}
	}
	if renew("ldap-ca-file", r.LDAP.CAFile, was.LDAP.CAFile, k.has(scaffold.PathLDAPCA)) {
		m.LDAPCA = []byte(read("ldap-ca-file", r.LDAP.CAFile).Reveal())
	}
	if renew("cache-password-file", r.Cache.PasswordFile, was.Cache.PasswordFile, !k.cache.Proxy.IsZero()) {
		m.CachePassword = secret.New(strings.TrimSpace(read("cache-password-file", r.Cache.PasswordFile).Reveal()))
	}
	if len(errs) > 0 {
		return m, nil, usage(errors.Join(errs...))
	}
	if err := a.restoreSecrets(k, r, &m); err != nil {
		return m, nil, err
	}
	if err := a.restoreKeys(k, ans, &m); err != nil {
		return m, nil, err
	}
	if err := engineImage(k, r, &m); err != nil {
		return m, nil, usage(err)
	}
	accounts, err := a.newAccounts(k, ans, &m, makePasswords)
	return m, accounts, err
}

// restoreSecrets makes the secrets that are not on disk.
func (a *app) restoreSecrets(k *kept, r answers.Answers, m *scaffold.Material) error {
	var err error
	if m.HTTPSecret.IsZero() {
		if m.HTTPSecret, err = scaffold.NewHTTPSecret(a.rand); err != nil {
			return fail(err)
		}
	}
	if !r.BundlesStore() {
		return nil
	}
	if k.was.Resolve().BundlesStore() && k.has(scaffold.PathS3Keys) {
		if m.StoreKeyID, m.StoreSecret, err = scaffold.S3Keys(k.text(scaffold.PathS3Keys)); err != nil {
			return fail(fmt.Errorf("%s: %w", scaffold.PathS3Keys, err), "the file holds the keys of the bundled store; put them back")
		}
		return nil
	}
	if m.StoreKeyID, m.StoreSecret, err = scaffold.NewStoreKeys(a.rand); err != nil {
		return fail(err)
	}
	return nil
}

// restoreKeys makes what is missing of the signing pair and what the registry trusts.
func (a *app) restoreKeys(k *kept, ans answers.Answers, m *scaffold.Material) error {
	if m.AuthKeyPEM.IsZero() {
		keyType, err := keys.ParseType(ans.KeyType)
		if err != nil {
			return usage(err)
		}
		pair, err := keys.Generate(keyType, keys.Options{Rand: rand.Reader, Now: a.now, CommonName: ans.Resolve().Issuer})
		if err != nil {
			return fail(err)
		}
		k.warnings = append(k.warnings, fmt.Errorf("%s is gone: a new signing key is made; restart auth and registry, tokens that are out end with it", scaffold.PathKey))
		m.AuthKeyPEM, m.CertPEM, m.Bundle, m.JWKS = pair.KeyPEM(), pair.CertPEM(), nil, nil
	}
	if len(m.CertPEM) == 0 {
		// The registry's bundle has the certificate too.
		if m.CertPEM = m.Bundle; len(m.CertPEM) == 0 {
			return fail(fmt.Errorf("%s is gone, and so is %s", scaffold.PathCert, scaffold.PathBundle),
				"regctl-setup keys generate makes a new pair; or put the certificate back")
		}
	}
	certs, err := keys.ParseBundle(m.CertPEM)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", scaffold.PathCert, err))
	}
	if len(m.Bundle) == 0 {
		m.Bundle = keys.Bundle(certs...)
	}
	if len(m.JWKS) == 0 {
		if m.JWKS, err = keys.JWKS(certs[0].PublicKey); err != nil {
			return fail(err)
		}
	}
	return nil
}

// engineImage takes this program for the image that compose builds, or leaves the one that is
// there where this one can't be used.
func engineImage(k *kept, r answers.Answers, m *scaffold.Material) error {
	if !r.BuildsImage() {
		return nil
	}
	m.EngineBinary, m.CACerts = k.disk.Files[scaffold.PathEngine].Data, k.disk.Files[scaffold.PathCACerts].Data
	if r.Runtime != answers.RuntimeCompose {
		return nil
	}
	own, err := ownBinary(r)
	switch {
	case err == nil:
		m.EngineBinary = own
	case len(m.EngineBinary) == 0:
		return err
	}
	if len(m.CACerts) == 0 {
		m.CACerts = publicAuthorities()
	}
	return nil
}

// newAccounts makes the accounts that the answers add.
func (a *app) newAccounts(k *kept, ans answers.Answers, m *scaffold.Material, makePasswords bool) ([]account, error) {
	former := map[string]bool{}
	for _, u := range k.was.Accounts() {
		former[u.Name] = true
	}
	var accounts []account
	for _, u := range ans.Accounts() {
		switch {
		case k.authBad:
			continue
		case k.auth == nil:
		case former[u.Name]:
			continue
		default:
			if _, there := k.auth.User(u.Name); there {
				continue
			}
		}
		acc := account{Name: u.Name, Labels: map[string][]string{}}
		for _, l := range u.Labels {
			acc.Labels[l.Name] = l.Values
		}
		hash := scaffold.UnusableHash()
		if makePasswords {
			pw, err := users.Generate(a.rand)
			if err != nil {
				return nil, fail(err)
			}
			if hash, err = users.Hash(pw, users.DefaultCost); err != nil {
				return nil, fail(err)
			}
			acc.Password = pw.Reveal()
		}
		m.Users = append(m.Users, scaffold.UserHash{Name: u.Name, Hash: hash, Labels: u.Labels})
		accounts = append(accounts, acc)
	}
	if len(m.Users) == 0 { // the plan wants one; the file that is there keeps its own
		m.Users = []scaffold.UserHash{{Name: answers.AdminUser, Hash: scaffold.UnusableHash()}}
	}
	return accounts, nil
}
