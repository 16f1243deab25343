package adopt

// Remedy says what the new deployment does about a fault that package doctor finds, by
// its code (and for its code acl-lint by the rule). "" says: nothing, it stays as it is,
// and a person has to mend it.
func Remedy(code string) string {
	switch code {
	case "single-file-mount":
		return "every service mounts folders of its own: a changed file is seen"
	case "caddy-data-lost":
		return "certificates are kept in the volume caddy-data"
	case "http-secret-weak":
		return "a new one of 256 bits, in conf/registry/config.yml with mode 0600"
	case "secret-in-compose":
		return "secrets are in files with mode 0600 (conf/registry, secrets/), none in docker-compose.yml and .env"
	case "image-tag-floats":
		return "images are pinned by a full version in .env"
	case "image-vulnerable", "docker-auth-too-old", "image-gone":
		return "pinned to a version without the hole, where the image is not your own"
	case "docker-auth-log-lost", "docker-auth-logs-secrets":
		return "started with -logtostderr -v=1: docker compose logs shows it, and no password"
	case "drain-timeout":
		return "draintimeout 60s and a longer stop_grace_period: pushes in flight end well"
	case "mode-too-open", "folder-not-enterable", "owner-mismatch":
		return "files with secrets get mode 0600, and services run as the user that owns them"
	case "key-id-not-accepted", "algorithm-not-accepted", "x5c-without-bundle", "bundle-misses-certificate", "jwks-misses-key", "trust-not-mounted", "trust-unreadable", "registry-2-needs-bundle":
		return "the registry trusts the certificate and the key under both its ids (conf/trust)"
	case "key-in-registry":
		return "the registry sees certificates and public keys only"
	case "debug-server-exposed", "traces-exported":
		return "a configuration file of its own: debug server on 127.0.0.1, no traces"
	case "registry-env-mangled", "registry-env-refused", "storage-drivers", "storage-section-lost", "env-value-mangled", "env-variable-unset", "env-variable-twice", "registry-config-not-read":
		return "the registry is set by a file, not by variables"
	case "hash-in-compose":
		return "password hashes stand in conf/auth/auth-server.yml alone, which compose does not read"
	case "cache-with-collection":
		return "no cache of blob descriptors: a garbage collection beside one corrupts later pushes"
	case "s3-path-style":
		return "the bucket goes into the path, as the registry needs it with an endpoint"
	case "s3-redirect-private":
		return "layers pass through the registry where clients can't reach the bucket"
	case "caddy-admin-exposed":
		return "admin off"
	case "caddy-cannot-start":
		return "it keeps NET_BIND_SERVICE"
	case "uploads-limited", "respond-before-proxy", "v2-without-slash", "upload-location", "registry-not-proxied", "upstream-mismatch", "caddyfile-invalid":
		return "a generated Caddyfile: /auth and /v2 each in a handle of their own, without limits on uploads"
	case "port-published":
		return "only caddy publishes ports"
	case "realm-path", "realm-not-served", "domain-mismatch", "autoredirect-two-domains", "registry-address-mismatch", "issuer-mismatch", "service-mismatch":
		return "realm, issuer and service are written from one set of answers"
	case "health-check-protected":
		return "health checks ask paths that need no login"
	case "secret-not-ignored":
		return ".gitignore keeps keys, secrets and data out"
	case "config-not-mounted":
		return "mounted as a folder at the place that its command names"
	}
	return ""
}
