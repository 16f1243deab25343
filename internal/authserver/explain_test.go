package authserver

import (
	"errors"
	"fmt"
	"testing"
)

type hinted struct{ hints []string }

func (h hinted) Error() string   { return "a.yml:1:2: one\na.yml:3:4: two\x1b" }
func (h hinted) Hints() []string { return h.hints }

type hintedOnce struct{ error }

func (hintedOnce) Hint() string { return "chmod 600 key" }

func TestExplain(t *testing.T) {
	t.Parallel()
	list := "a.yml:1:2: one; a.yml:3:4: two\\u{1b}"
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "plain"},
		{hinted{}, list},
		{fmt.Errorf("load: %w", hinted{[]string{`did you mean "x"?`, "write y"}}), "load: " + list + ` (did you mean "x"?; write y)`},
		{fmt.Errorf("key: %w", hintedOnce{errors.New("open to everybody")}), "key: open to everybody (chmod 600 key)"},
	} {
		if got := reasonAndHint(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}
