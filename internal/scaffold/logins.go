package scaffold

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/regctl-setup/regctl-setup/internal/answers"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// PathLoginSecret returns where the secret of an external login lies: the bind password of
// ldap, the client secret of the others.
func PathLoginSecret(login string) string {
	if login == answers.LoginLDAP {
		return "secrets/auth/ldap_bind_password"
	}
	return "secrets/auth/" + login + "_client_secret"
}

// loginSecrets returns the external logins that have a secret.
func loginSecrets(a answers.Answers) []string {
	var out []string
	for _, login := range a.Logins {
		if login != answers.LoginLDAP || a.LDAP.BindDN != "" {
			out = append(out, login)
		}
	}
	return out
}

// loginPages returns the paths of docker_auth's login pages, without the slash.
func loginPages(a answers.Answers) []string {
	var out []string
	for _, login := range a.Logins {
		if login != answers.LoginLDAP {
			out = append(out, login+"_auth")
		}
	}
	return out
}

// logins fills in what the templates need of external logins and of the cache.
func (v *view) logins(m Material) {
	a := v.A
	v.LoginPages, v.LoginSecrets = loginPages(a), loginSecrets(a)
	v.LDAPCA = a.HasLogin(answers.LoginLDAP) && (a.LDAP.CAFile != "" || len(m.LDAPCA) > 0)
	for _, s := range a.LDAP.Labels {
		if l, err := answers.ParseLDAPLabel(s); err == nil { // validated with the answers
			v.LDAPLabels = append(v.LDAPLabels, l)
		}
	}
	v.GitHubURL, v.GitLabURL = strings.TrimRight(a.GitHub.URL, "/"), strings.TrimRight(a.GitLab.URL, "/")
	v.CachePassword = m.CachePassword
	v.ServicePattern = "/^" + regexp.QuoteMeta(a.Service) + "$/"
}

// checkLogins returns every fault of what external logins and the cache need.
func (v *view) checkLogins(m Material) []error {
	var errs []error
	one := func(what string, s secret.Text) {
		if s.IsZero() {
			errs = append(errs, fmt.Errorf("%s is missing or empty", what))
		} else if strings.ContainsAny(s.Reveal(), "\r\n\x00") {
			errs = append(errs, fmt.Errorf("%s: expected one line", what))
		}
	}
	for _, login := range v.LoginSecrets {
		one("the secret of the "+login+" login", m.LoginSecrets[login])
	}
	if v.LDAPCA {
		if _, err := certificates(m.LDAPCA); err != nil {
			errs = append(errs, fmt.Errorf("certificate authority of the directory: %w", err))
		}
	}
	if v.A.Cache.Username != "" {
		one("the password of the cache's account", m.CachePassword)
	}
	return errs
}
