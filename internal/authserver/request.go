package authserver

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/regctl-setup/regctl-setup/internal/scope"
	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// tokenRequest is what a client asks for, and who it says it is.
type tokenRequest struct {
	// presented is the user name as sent, for the log: nobody has proved anything.
	presented string
	// anonymous requests carry no credentials.
	anonymous bool
	account   string
	password  secret.Text
	// refresh is shown in the place of a password; claimed is the account that the client
	// names beside it, "" being none.
	refresh secret.Text
	claimed string
	// offline asks for a refresh token.
	offline  bool
	service  string
	clientID string
	scopes   []scope.Scope
}

// refusal is a request's answer when there is no token in it.
type refusal struct {
	status    int
	code      string // of the registry's error format
	msg       string // for the client; never a credential
	challenge bool   // with WWW-Authenticate
	retry     int    // seconds for Retry-After
	allow     string // for Allow
	reason    string // for the log, where it differs from msg
}

func malformed(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "BAD_REQUEST", msg: fmt.Sprintf(format, args...)}
}

// unusable refuses credentials that were sent and can't be used. To serve such a request
// as anonymous would hide from its sender that he is not who he means to be.
func unusable(reason string) *refusal {
	return &refusal{status: http.StatusUnauthorized, code: "UNAUTHORIZED", msg: "authentication failed", challenge: true, reason: reason}
}

func tooLarge(what string, limit int) *refusal {
	return &refusal{status: http.StatusRequestEntityTooLarge, code: "SIZE_INVALID", msg: fmt.Sprintf("the %s is larger than %d bytes", what, limit)}
}

// readForm reads the body of a POST. It reads it to its end, for only then does the
// HTTP server notice a client that leaves.
func readForm(w http.ResponseWriter, r *http.Request, limits Limits) (url.Values, *refusal) {
	if r.ContentLength > int64(limits.Body) {
		return nil, tooLarge("form", limits.Body)
	}
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limits.Body)))
	if err != nil {
		var over *http.MaxBytesError
		if errors.As(err, &over) {
			return nil, tooLarge("form", limits.Body)
		}
		return nil, malformed("the body could not be read")
	}
	if len(body) == 0 {
		return nil, nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, malformed("the body is no form: want Content-Type application/x-www-form-urlencoded")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, malformed("the form is not encoded as one")
	}
	return form, nil
}

// parseTokenRequest reads a request of the given method from its header, its query and,
// for POST, its form. Beside a refusal it returns what it has understood, for the log.
func parseTokenRequest(method string, header http.Header, rawQuery string, form url.Values, limits Limits) (*tokenRequest, *refusal) {
	req := &tokenRequest{anonymous: true}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return req, malformed("the query is not encoded as one")
	}
	post := method == http.MethodPost
	if !post {
		form = nil
	}
	req.clientID = first(form["client_id"], query["client_id"])

	basic, ref := req.readBasic(header)
	if ref == nil && !basic && post {
		ref = req.readFormCredentials(form)
	}
	if ref != nil {
		return req, ref
	}
	for _, name := range []string{"password", "refresh_token"} {
		if first(query[name]) != "" {
			return req, malformed("%s must not stand in the query, where logs keep it", name)
		}
	}
	if post && first(query["username"]) != "" {
		return req, malformed("username must not stand in the query of a POST")
	}
	if ref := req.checkCredentials(limits); ref != nil {
		return req, ref
	}
	for _, account := range slices.Concat(form["account"], query["account"]) {
		switch {
		case account == "" || account == req.account:
		case !req.refresh.IsZero() && (req.claimed == "" || req.claimed == account):
			req.claimed = account
		case req.anonymous && !basic:
			req.presented = account
			return req, unusable("account named without credentials")
		default:
			return req, malformed("account and user differ")
		}
	}

	req.offline = first(form["offline_token"], query["offline_token"]) == "true" || first(form["access_type"], query["access_type"]) == "offline"
	req.service = first(form["service"], query["service"])
	if !utf8.ValidString(req.service) {
		return req, malformed("service is not UTF-8")
	}
	if len(req.service) > limits.Name {
		req.service = ""
		return req, malformed("service is longer than %d bytes", limits.Name)
	}
	req.scopes, err = scope.ParseList(slices.Concat(form["scope"], query["scope"]),
		scope.Limits{Scopes: limits.Scopes, Actions: limits.Actions, Name: limits.Name})
	if err != nil {
		return req, malformed("%v", err)
	}
	return req, nil
}

// readBasic reads the Authorization header. It returns false where there is none.
func (req *tokenRequest) readBasic(header http.Header) (bool, *refusal) {
	lines := header["Authorization"]
	switch {
	case len(lines) == 0:
		return false, nil
	case len(lines) > 1:
		return true, malformed("more than one Authorization header")
	}
	scheme, rest, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return true, unusable("Authorization is not Basic")
	}
	text, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return true, unusable("Basic credentials are not base64")
	}
	user, password, ok := strings.Cut(string(text), ":")
	switch {
	case !ok:
		return true, unusable("Basic credentials have no colon")
	case user == "" && password != "":
		return true, unusable("Basic credentials have no user name")
	case user != "":
		req.setCredentials(user, password)
	}
	return true, nil
}

// readFormCredentials reads the credentials of a POST. As in docker_auth a password
// without a user name is none: clients that know no name send both, empty or not.
func (req *tokenRequest) readFormCredentials(form url.Values) *refusal {
	for _, name := range []string{"username", "password", "refresh_token"} {
		if len(form[name]) > 1 {
			return malformed("%s is given twice", name)
		}
	}
	user, password := first(form["username"]), first(form["password"])
	refresh, grant := first(form["refresh_token"]), first(form["grant_type"])
	switch {
	case grant == "refresh_token" && refresh != "":
		// Clients send the user name that they know, or none.
		req.anonymous, req.presented, req.refresh = false, user, secret.New(refresh)
	case user != "" && password != "":
		req.setCredentials(user, password)
	case user != "":
		req.presented = user
		return unusable("the password is missing")
	case refresh != "" || grant == "refresh_token":
		return unusable("no refresh token, or one of another grant")
	}
	return nil
}

func (req *tokenRequest) setCredentials(user, password string) {
	req.anonymous, req.presented, req.account, req.password = false, user, user, secret.New(password)
}

// checkCredentials refuses what can't be a name or a password. A NUL ends the password
// for some bcrypt implementations and not for others.
func (req *tokenRequest) checkCredentials(limits Limits) *refusal {
	switch {
	case len(req.account) > limits.User || !req.refresh.IsZero() && len(req.presented) > limits.User:
		return malformed("the user name is longer than %d bytes", limits.User)
	case req.password.Len() > limits.Password:
		return malformed("the password is longer than %d bytes", limits.Password)
	case strings.IndexByte(req.account, 0) >= 0:
		return malformed("the user name holds a NUL")
	case strings.IndexByte(req.password.Reveal(), 0) >= 0:
		return malformed("the password holds a NUL")
	case !utf8.ValidString(req.account):
		return malformed("the user name is not UTF-8")
	}
	return nil
}

// first returns the first value there is, "" without any.
func first(lists ...[]string) string {
	for _, l := range lists {
		if len(l) > 0 {
			return l[0]
		}
	}
	return ""
}
