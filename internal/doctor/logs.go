package doctor

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LogLine is a line of a log that is known, with what it means.
type LogLine struct {
	Name string // stable
	From string // registry, token server or caddy
	// Harmless says that nothing needs to be done.
	Harmless bool
	Meaning  string
	Mend     string // "" for harmless ones
	// Example is such a line.
	Example string

	pattern *regexp.Regexp
}

// LogMatch is how often a known line was read.
type LogMatch struct {
	LogLine
	Count int
	// First and Last are the first and the last such line, without control characters: a line that
	// is a JSON object as KEY=VALUE, with what says most first; cut.
	First, Last string
}

// LogReport is what a log says.
type LogReport struct {
	Lines   int        // read
	Matches []LogMatch // known lines, those that need something done first
	// Strange are the first lines of level error or worse that are not known, cut.
	Strange      []string
	StrangeCount int
}

// Healthy reports whether no line asks for something to be done.
func (r *LogReport) Healthy() bool {
	return !slices.ContainsFunc(r.Matches, func(m LogMatch) bool { return !m.Harmless })
}

// LogLines returns the table of known lines. Of two that match, the first counts.
func LogLines() []LogLine {
	line := func(name, from, pattern, meaning, mend, example string) LogLine {
		return LogLine{Name: name, From: from, Harmless: mend == "", Meaning: meaning, Mend: mend, Example: example, pattern: regexp.MustCompile(pattern)}
	}
	return []LogLine{
		line("doctor-probe", "registry", `regctl-setup-doctor.*(?:insufficient scope|manifest unknown)|(?:insufficient scope|manifest unknown).*regctl-setup-doctor`,
			"doctor tried what the registry has to refuse", "",
			`level=warning msg="error authorizing context: insufficient scope" http.request.useragent=regctl-setup-doctor`),
		line("token-key-unknown", "registry", `token signed by untrusted key with ID`,
			"the token's key id is none that the registry looks up: another key, or the form of id of another registry version", "regctl-setup doctor --offline names the file that lacks the key",
			`level=info msg="token signed by untrusted key with ID: \"6L4Y:PCBR:ABCD\""`),
		line("token-certificate-untrusted", "registry", `(?:unable to verify token signing cert|x509: certificate (?:signed by unknown authority|has expired))`,
			"the certificate in the token (x5c) does not lead to the registry's bundle, or is out of date", "regctl-setup doctor --offline, then restart the registry",
			`level=error msg="failed to verify token: x509: certificate signed by unknown authority"`),
		line("token-expired", "registry", `token not to be used after`,
			"a token ended before its use: most often a push that took longer than the token lives", "raise token.expiration in the auth config (with the bundled server: x-regctl-setup.expiration.push) to more than the longest push takes, such as 3600",
			`level=info msg="token not to be used after 2026-11-23 12:00:00 +0000 UTC - currently 2026-11-23 12:06:00"`),
		line("token-not-yet", "registry", `token not to be used before`,
			"the clocks of token server and registry differ by more than a minute", "timedatectl set-ntp true on both machines",
			`level=info msg="token not to be used before 2026-11-23 12:05:00 +0000 UTC - currently 2026-11-23 12:00:00"`),
		line("token-issuer", "registry", `token from untrusted issuer`,
			"the token's issuer is not the one that the registry expects", "write the same issuer in the auth config and the registry's configuration, then restart the registry",
			`level=info msg="token from untrusted issuer: \"Acme auth server\""`),
		line("token-audience", "registry", `token intended for another audience`,
			"the token is for another service than this registry's name", "compare auth.token.service with what the client asked for; restart the registry after a change",
			`level=info msg="token intended for another audience: [Docker registry]"`),
		line("token-required", "registry", `error authorizing context: authorization token required`,
			"a client's first request, which has no token yet: that is how it learns where to get one", "",
			`level=warning msg="error authorizing context: authorization token required" http.request.uri="/v2/"`),
		line("scope-missing", "registry", `error authorizing context: insufficient scope`,
			"a token does not grant what was tried: the rules say no, or the client asked for too little", "regctl-setup acl test USER REPO ACTION says which entry decides",
			`level=warning msg="error authorizing context: insufficient scope"`),
		line("blob-unknown", "registry", `(?:blob unknown to registry|response completed with error.*BLOB_UNKNOWN)`,
			"a client asked whether a layer is there before it pushes it", "",
			`level=error msg="response completed with error" err.code="blob unknown" err.message="blob unknown to registry"`),
		line("manifest-unknown", "registry", `(?:manifest unknown|MANIFEST_UNKNOWN)`,
			"a client asked for a tag that is not there, as it does before a first push", "",
			`level=error msg="response completed with error" err.code="manifest unknown"`),
		line("upload-invalid", "registry", `(?:blob upload (?:invalid|unknown)|BLOB_UPLOAD_(?:INVALID|UNKNOWN)|invalid secret)`,
			"the steps of an upload reached registries that don't know each other, or a restart came between without a http.secret", "give all replicas the same http.secret and storage; one replica on disk storage",
			`level=error msg="response completed with error" err.code="blob upload invalid" err.detail="invalid secret"`),
		line("http-secret", "registry", `No HTTP secret provided`,
			"the registry made a secret of its own, which the next start forgets: uploads in flight break", "openssl rand -hex 32 makes one; write it as http.secret in the registry's configuration",
			`level=warning msg="No HTTP secret provided - generated random secret."`),
		line("key-permission", "token server", `open \S+\.(?:key|pem): permission denied`,
			"the token server's user may not read the signing pair", "chown UID FILE, with the UID of .env's REGISTRY_UID; the key stays mode 0600",
			`failed to load server key: open conf/keys/server.key: permission denied`),
		line("config-permission", "token server", `auth config \S+: permission denied`,
			"the token server's user may not read its configuration: it does not start", "regctl-setup doctor --offline names the file and its owner; chown UID FILE, with the UID of .env's REGISTRY_UID, and mode 0600",
			`regctl-setup: error: auth config conf/auth/auth-server.yml: permission denied`),
		line("storage-permission", "registry", `(?:mkdir|open|rename) \S+: permission denied`,
			"the registry's user may not write where the images are kept", "chown -R UID data/registry, with the UID of .env's REGISTRY_UID",
			`level=error msg="response completed with error" err.detail="filesystem: mkdir /var/lib/registry/docker: permission denied"`),
		line("disk-full", "registry", `no space left on device`,
			"the disk is full: pushes fail", "free space: docker system prune for old images of the engine, garbage collection for the registry's",
			`level=error msg="response completed with error" err.detail="write: no space left on device"`),
		line("storage-health", "registry", `health check failed|storagedriver .*(?:unhealthy|NoSuchBucket)`,
			"the storage does not answer: after three failures every request gets 503", "regctl-setup doctor --write tries the bucket with the registry's own keys",
			`level=error msg="response completed with error" err.code=unavailable err.detail="health check failed: please see /debug/health"`),
		line("s3-region", "registry", `AuthorizationHeaderMalformed|the region .* is wrong`,
			"the region of the S3 settings is not the bucket's", "write the region that the message names under storage.s3",
			`level=error msg="s3aws: AuthorizationHeaderMalformed: the region \"<nil>\" is wrong; expecting \"us-east-1\""`),
		line("s3-signature", "registry", `SignatureDoesNotMatch|InvalidAccessKeyId`,
			"the S3 keys are wrong, or were given as variables and read as YAML", "put them into an AWS credentials file and set AWS_SHARED_CREDENTIALS_FILE",
			`level=error msg="s3aws: SignatureDoesNotMatch: The request signature we calculated does not match"`),
		line("s3-virtual-host", "registry", `lookup [a-z0-9.-]+: no such host`,
			"a name has no address; for S3 on registry 3 most often the bucket's name, which became part of the host", "add forcepathstyle: true under storage.s3",
			`level=error msg="dial tcp: lookup images.minio.lan: no such host"`),
		line("redis-settings", "registry", `redis configuration required`,
			"redis settings of the other registry version", "registry 3 wants redis.addrs: [HOST:PORT], registry 2 redis.addr: HOST:PORT",
			`panic: redis configuration required to use for layerinfo cache`),
		line("config-panic", "registry", `panic: (?:multiple storage drivers|token auth requires|.*config key must contain|signingalgorithms must)`,
			"the registry's configuration stops it at start", "regctl-setup doctor --offline names the setting",
			`panic: multiple storage drivers specified in configuration or environment: filesystem, s3`),
		line("traces", "registry", `traces export: `,
			"the registry sends traces to nobody; nothing is lost", "set OTEL_TRACES_EXPORTER: none on the registry's service",
			`2026/11/23 12:00:00 traces export: Post "https://localhost:4318/v1/traces": dial tcp 127.0.0.1:4318: connect: connection refused`),
		line("ignored-variable", "registry", `Ignoring unrecognized environment variable`,
			"a REGISTRY_ variable that the registry does not know: a slip of the pen, or a service link of Kubernetes", "",
			`level=warning msg="Ignoring unrecognized environment variable REGISTRY_PORT"`),
		line("client-gone", "registry", `client disconnected during blob (?:PATCH|PUT)|unexpected EOF`,
			"a client or a proxy ended an upload in the middle", "look for time limits of a proxy on the way when it happens again and again; a single one is somebody's Ctrl-C",
			`level=error msg="client disconnected during blob PATCH" err.detail="unexpected EOF"`),
		line("login-failed", "token server", `(?i)auth(?:entication|orization)? failed|wrong password|"outcome":"(?:denied|unauthorized)"`,
			"somebody gave a wrong password", "regctl-setup user verify NAME, when it is a person who should get in",
			`I1123 12:00:00.000000 1 server.go:474] Auth failed: wrong password for "ci"`),
		line("docker-auth-log", "token server", `log: cannot create log`,
			"docker_auth wants to log to files and can't", `write command: ["-logtostderr", "-v=1", CONFIG] on its service`,
			`log: exiting because of error: log: cannot create log: open /tmp/auth_server.log: read-only file system`),
		line("reload-refused", "token server", `(?i)(?:failed to (?:load|reload)|reload (?:failed|refused))`,
			"the config on disk has a mistake: the rules from before stay in force", "regctl-setup acl lint names the line",
			`E1123 12:00:00.000000 1 main.go:120] Failed to reload config (server not restarted): yaml: line 12`),
		line("caddy-capability", "caddy", `exec /usr/bin/caddy: operation not permitted`,
			"Caddy lacks the capability that its program needs", "add cap_add: [NET_BIND_SERVICE] to its service",
			`exec /usr/bin/caddy: operation not permitted`),
		line("upload-closed", "registry", `error closing blobwriter: already closed`,
			"an upload was cancelled; the registry closes it twice", "",
			`level=error msg="error closing blobwriter: already closed" http.request.method=DELETE`),
		line("range-invalid", "registry", `err\.code"?[:=]"?range invalid`,
			"a client went on with an upload at another place than the registry had reached, as after a part that failed: it begins again", "",
			`level=error msg="response completed with error" err.code="range invalid" err.message="invalid content range"`),
		line("request-canceled", "registry", `RequestCanceled: request context canceled|context canceled`,
			"a client did not wait for the answer; when it happens again and again, the storage is slow or does not answer", "regctl-setup doctor --write tries the storage; a single one is somebody's Ctrl-C",
			`level=error msg="response completed with error" err.detail="s3aws: RequestCanceled: request context canceled"`),
		line("caddy-upstream", "caddy", `dial tcp [^ ]+: connect: connection refused|"status":\s*502`,
			"the service behind Caddy did not answer: for a few seconds after a start that is ordinary", "docker compose ps; docker compose logs of the service that it names",
			`{"level":"error","logger":"http.log.error","msg":"dial tcp 172.20.0.3:5000: connect: connection refused","status":502}`),
		line("caddy-passed-on", "caddy", `"logger":"http\.log\.access[^"]*".*"status":\s*5\d\d`,
			"Caddy passed on an answer that says \"my fault\": the registry's or the token server's own line says why", "",
			`{"level":"error","logger":"http.log.access.log0","msg":"handled request","request":{"method":"PATCH","uri":"/v2/a/blobs/uploads/1"},"status":500}`),
		line("caddy-acme", "caddy", `(?:could not get certificate|challenge failed|urn:ietf:params:acme:error:(?:dns|connection|unauthorized))`,
			"the certificate authority can't reach this machine under its name", "let port 80 be reachable from everywhere, and the name lead to this machine",
			`{"level":"error","logger":"tls.obtain","msg":"could not get certificate from issuer","error":"HTTP 400 urn:ietf:params:acme:error:connection"}`),
		line("caddy-acme-limit", "caddy", `urn:ietf:params:acme:error:rateLimited`,
			"too many certificates were asked for: the authority says no for up to a week", "keep /data of Caddy in a named volume; meanwhile --tls acme-staging or internal",
			`{"level":"error","logger":"tls.obtain","error":"HTTP 429 urn:ietf:params:acme:error:rateLimited"}`),
		line("caddy-handshake", "caddy", `TLS handshake error`,
			"a client spoke no TLS or did not trust the certificate: scanners do that all day", "",
			`{"level":"debug","logger":"http.stdlib","msg":"http: TLS handshake error from 203.0.113.7:40112: EOF"}`),
	}
}

// alarming finds lines of level error or worse, in the forms of registry, docker_auth and Caddy.
var alarming = regexp.MustCompile(`(?i)level=(?:error|fatal)|"level":"(?:error|fatal)"|(?:^|\| )[EF]\d{4} |^panic:|\| panic:`)

// maxLogLine bounds what is kept of a line, in bytes; longer ones are read and cut.
const maxLogLine = 64 << 10

// ReadLog reads a log to its end and counts the lines that are known. The prefixes of docker
// compose may stand before the lines.
func ReadLog(r io.Reader) (LogReport, error) {
	var report LogReport
	table := LogLines()
	found := map[int]*LogMatch{}
	in := bufio.NewReaderSize(r, maxLogLine)
	for {
		raw, err := in.ReadSlice('\n')
		text := strings.TrimRight(string(raw), "\r\n")
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n') // the rest of a long line
		}
		if text != "" {
			report.Lines++
			report.count(text, table, found)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return report, err
		}
	}
	for i := range table {
		if m := found[i]; m != nil {
			report.Matches = append(report.Matches, *m)
		}
	}
	slices.SortStableFunc(report.Matches, func(a, b LogMatch) int {
		switch {
		case a.Harmless == b.Harmless:
			return 0
		case a.Harmless:
			return 1
		}
		return -1
	})
	return report, nil
}

func (r *LogReport) count(text string, table []LogLine, found map[int]*LogMatch) {
	for i := range table {
		if !table[i].pattern.MatchString(text) {
			continue
		}
		if found[i] == nil {
			found[i] = &LogMatch{LogLine: table[i], First: printable(text)}
		}
		found[i].Count++
		found[i].Last = printable(text)
		return
	}
	const shown = 5
	if alarming.MatchString(text) {
		if r.StrangeCount++; len(r.Strange) < shown {
			r.Strange = append(r.Strange, printable(text))
		}
	}
}

// secrets finds what must not be repeated from a log: credentials and the state of uploads.
var secrets = regexp.MustCompile(`(?i)(basic|bearer)\s+[A-Za-z0-9._~+/=-]{8,}|_state=[^ "&]+|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9._-]+`)

// telling are the members of a log line that is a JSON object which say what happened, in this order.
var telling = []string{"time", "ts", "level", "msg", "error", "err", "err.code", "err.message", "err.detail", "status", "http.response.status", "reason", "http.request.method", "http.request.uri", "account", "auth.user.name"}

// shortMember is a member's name without the groups that say nothing to a person.
var shortMember = strings.NewReplacer("http.request.", "", "http.response.", "", "auth.user.name", "account")

// ReadableLine is a log line for a person: a JSON object as KEY=VALUE with what says most first,
// without secrets and control characters. Others keep their words.
func ReadableLine(text string) string { return clean(condensed(text)) }

// moment is a time of a log line to the second; text that is none stays.
func moment(v any) string {
	switch v := v.(type) {
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.UTC().Format(time.RFC3339)
		}
		return v
	case json.Number:
		if f, err := v.Float64(); err == nil && f > 0 && f < 1<<40 {
			return time.Unix(int64(f), 0).UTC().Format(time.RFC3339)
		}
		return v.String()
	}
	return ""
}

// condensed is a line that is a JSON object, behind the prefix of docker compose or without, as
// KEY=VALUE with what says most first; others stay as they are.
func condensed(text string) string {
	prefix, object := "", text
	if i := strings.Index(text, "| {"); i >= 0 {
		prefix, object = strings.Join(strings.Fields(text[:i]), " ")+" | ", text[i+2:]
	}
	var members map[string]any
	dec := json.NewDecoder(strings.NewReader(object))
	dec.UseNumber()
	if !strings.HasPrefix(object, "{") || dec.Decode(&members) != nil {
		return text
	}
	if request, ok := members["request"].(map[string]any); ok { // Caddy's access log
		members["http.request.method"], members["http.request.uri"] = request["method"], request["uri"]
	}
	var parts []string
	for _, key := range telling {
		if key == "time" || key == "ts" {
			if at := moment(members[key]); at != "" {
				parts = append(parts, at)
			}
			continue
		}
		switch v := members[key].(type) {
		case string:
			if v != "" {
				if strings.ContainsAny(v, " \"\t\n") {
					v = strconv.Quote(v)
				}
				parts = append(parts, shortMember.Replace(key)+"="+v)
			}
		case json.Number:
			parts = append(parts, shortMember.Replace(key)+"="+v.String())
		}
	}
	if len(parts) == 0 {
		return text
	}
	return prefix + strings.Join(parts, " ")
}

// printable is a line for a terminal: cut, without control characters and secrets.
func printable(text string) string {
	text = clean(condensed(text))
	const longest = 240
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}

// clean takes out what must not reach a terminal.
func clean(text string) string {
	text = secrets.ReplaceAllString(text, "***")
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e {
			return '�'
		}
		return r
	}, text)
}
