package iostreams_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/iostreams"
)

func TestSecretFromInput(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want, wantErr string }{
		{"one line", "s3cret\n", "s3cret", ""},
		{"no newline", "s3cret", "s3cret", ""},
		{"CRLF", "s3cret\r\n", "s3cret", ""},
		{"spaces belong to it", "  a b \n", "  a b ", ""},
		{"empty", "", "", ""},
		{"two lines", "a\nb\n", "", "more than one line"},
		{"too long", strings.Repeat("x", iostreams.MaxSecret+1), "", "longer than 4096 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _, _ := iostreams.Test(tt.in)
			got, err := s.SecretFromInput()
			switch {
			case tt.wantErr == "" && err != nil:
				t.Fatalf("error %v", err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Fatalf("error = %v, want one with %q", err, tt.wantErr)
			case err == nil && got.Reveal() != tt.want:
				t.Errorf("got %q, want %q", got.Reveal(), tt.want)
			}
		})
	}
}

func TestNobodyIsAskedWithoutATerminal(t *testing.T) {
	t.Parallel()
	s, out, errOut := iostreams.Test("y\n")
	if _, err := s.Confirm("sure?"); !errors.Is(err, iostreams.ErrNoTerminal) {
		t.Errorf("Confirm error = %v, want ErrNoTerminal", err)
	}
	if _, err := s.SecretTwice("Password"); !errors.Is(err, iostreams.ErrNoTerminal) {
		t.Errorf("SecretTwice error = %v, want ErrNoTerminal", err)
	}
	if out.Len()+errOut.Len() > 0 {
		t.Errorf("something was printed: %q %q", out, errOut)
	}
}
