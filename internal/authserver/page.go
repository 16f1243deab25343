package authserver

import (
	"bytes"
	"html/template"
	"net/http"
)

// page is the one HTML page. It needs nothing from elsewhere, so that its policy can
// forbid everything.
var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{{.}}</title>
<style>
:root { color-scheme: light dark; --fg: #1c1e21; --dim: #5c6370; --bg: #f6f7f9; --card: #fff; --line: #dfe3e8; }
@media (prefers-color-scheme: dark) { :root { --fg: #e6e8eb; --dim: #9aa2ad; --bg: #14161a; --card: #1d2025; --line: #30353c; } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--bg); color: var(--fg); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 34rem; margin: 1.5rem; padding: 2rem 2.25rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
h1 { margin: 0 0 .75rem; font-size: 1.35rem; overflow-wrap: anywhere; }
p { margin: .5rem 0 0; color: var(--dim); }
</style>
</head>
<body>
<main>
<h1>{{.}}</h1>
<p>This is the token server of a container registry. There is nothing to see here in a browser: clients such as docker, podman, skopeo and crane are sent here by the registry and log in by themselves.</p>
</main>
</body>
</html>
`))

// servePage sends the page that names the issuer.
func (s *Server) servePage(w *answerWriter, r *http.Request, st *State) {
	var body bytes.Buffer
	if err := page.Execute(&body, st.Realm); err != nil {
		s.refuse(w, r, st, &refusal{status: http.StatusInternalServerError, code: "UNKNOWN", msg: "internal error"})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	w.send(r, http.StatusOK, body.Bytes())
}
