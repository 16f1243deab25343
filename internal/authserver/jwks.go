package authserver

import "net/http"

// jwksPath is where the key set is found (the suffix of RFC 8615's well-known URIs that
// OpenID providers use).
const jwksPath = "/.well-known/jwks.json"

// serveJWKS sends the public key of the tokens. It is no secret: everybody may check a
// token. Five minutes in a cache are short beside the steps of a rotation.
func (s *Server) serveJWKS(w *answerWriter, r *http.Request, st *State) {
	h := w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Access-Control-Allow-Origin", "*")
	w.send(r, http.StatusOK, st.JWKS)
}
