package scaffold

import (
	"regexp"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
)

// hidden is what stands in the place of a secret.
const hidden = "***"

var (
	bcryptHash = regexp.MustCompile(`!?\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{53}`)
	secretKey  = regexp.MustCompile(`(?i)((?:^|[\s{,"'_+-])(?:password|passwd|secret|accountkey|accesskey|secretkey|sessiontoken|connectionstring|token|api_?key|` +
		`aws_access_key_id|aws_secret_access_key|root_access_key|root_secret_key)["']?\s*[:=]\s*)('(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s'"{\[][^,}]*)`)
	credentials = regexp.MustCompile(`(?i)\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{8,}`)
	pemBlock    = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`)
	longRun     = regexp.MustCompile(`^[ +-]*[A-Za-z0-9+/=]{60,}$`)
)

// Mask returns the text without what looks like a secret: values of keys that are named
// like one, bcrypt hashes, private keys, what an Authorization header brings. It errs on the side of hiding.
func Mask(text string) string {
	text = pemBlock.ReplaceAllString(text, hidden)
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		body, end := strings.TrimSuffix(line, "\n"), ""
		if len(body) < len(line) {
			end = "\n"
		}
		body = bcryptHash.ReplaceAllString(body, hidden)
		body = secretKey.ReplaceAllString(body, "${1}"+hidden)
		body = credentials.ReplaceAllString(body, "${1} "+hidden)
		if longRun.MatchString(body) {
			body = body[:len(body)-len(strings.TrimLeft(body, " +-"))] + hidden
		}
		lines[i] = body + end
	}
	return strings.Join(lines, "")
}

// UnifiedDiff returns the difference of two texts with secrets masked, "" when they are
// equal. A secret that changed shows as a changed line. An empty name of a side stands
// for a file that is not there.
func UnifiedDiff(oldName, newName string, old, data []byte) string {
	name := func(s string) string {
		if s == "" {
			return "/dev/null"
		}
		return s
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: splitLines(old), B: splitLines(data), FromFile: name(oldName), ToFile: name(newName), Context: 3,
	})
	if err != nil { // only a writer that fails can make it fail
		return ""
	}
	return Mask(text)
}

// splitLines returns the lines with their ends; the last one gets an end too.
func splitLines(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	lines := strings.SplitAfter(string(data), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	} else {
		lines[last] += "\n\\ No newline at end of file\n"
	}
	return lines
}
