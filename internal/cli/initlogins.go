package cli

import "github.com/regctl-setup/regctl-setup/internal/answers"

// nextLogins says what is left to do by hand for external logins and for the cache.
func (a *app) nextLogins(r answers.Answers) {
	for _, login := range r.Logins {
		if page := r.LoginURL(login); page != "" {
			a.note("Register with the %s login, as the address that people come back to:", login)
			a.note("  %s", page)
		}
	}
	if r.HasCache() {
		a.note("Images of %s, through the cache:", r.Cache.Upstream)
		a.note("  docker pull %s/library/busybox", r.CacheHost())
	}
}
