package lint

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// WriteGitHub writes the findings as workflow commands of GitHub Actions, which become annotations
// of the lines.
func WriteGitHub(w io.Writer, findings []Finding) error {
	// What ends a message, and what ends a property as well, is written in percent signs.
	message := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range findings {
		command := f.Severity.String()
		if f.Severity == Info {
			command = "notice"
		}
		text := f.Message
		if f.Fix != nil {
			text += "\nfix: " + f.Fix.Text
		}
		_, err := fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", command,
			property.Replace(filepath.ToSlash(f.Pos.File)), f.Pos.Line, f.Pos.Column, property.Replace(f.Rule), message.Replace(text))
		if err != nil {
			return err
		}
	}
	return nil
}
