package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tamperLog is a log of one compressed-away and one written segment, with 30 users.
func tamperLog(t *testing.T) (dir string, head Head) {
	t.Helper()
	l := newTestLog(t, Options{RotateSize: 3000, Plain: true})
	for i := range 30 {
		appendAll(t, l, login(fmt.Sprintf("user%02d", i)))
	}
	head, _ = l.Head()
	_ = l.Close()
	return l.Dir(), head
}

// TestF5Tampering: whatever is done to a line, verify finds it and says where.
func TestF5Tampering(t *testing.T) {
	t.Parallel()
	first := rotatedName(1)
	lines := func(data []byte) [][]byte { return bytes.SplitAfter(data, []byte("\n")) }
	join := func(l [][]byte) []byte { return bytes.Join(l, nil) }
	tests := []struct {
		name, file string
		change     func([]byte) []byte
		at, says   string
	}{
		{"altered", first, func(b []byte) []byte { return bytes.Replace(b, []byte(`"user03"`), []byte(`"user99"`), 1) }, first + ":5", "altered"},
		{"altered at the end", activeName, func(b []byte) []byte {
			l := lines(b)
			l[len(l)-2] = bytes.Replace(l[len(l)-2], []byte(`"user29"`), []byte(`"user92"`), 1)
			return join(l)
		}, activeName, "altered"},
		{"hash altered", first, func(b []byte) []byte {
			l := lines(b)
			l[2] = append(bytes.Clone(l[2][:len(l[2])-5]), []byte("f0\"}\n")...)
			return join(l)
		}, first + ":", "altered"},
		{"removed", first, func(b []byte) []byte { l := lines(b); return join(append(l[:4:4], l[5:]...)) }, first + ":5", "line 5 is missing"},
		{"several removed", first, func(b []byte) []byte { l := lines(b); return join(append(l[:2:2], l[6:]...)) }, first + ":3", "lines 3 to 6 are missing"},
		{"swapped", first, func(b []byte) []byte { l := lines(b); l[3], l[4] = l[4], l[3]; return join(l) }, first + ":", ""},
		{"doubled", first, func(b []byte) []byte { l := lines(b); return join(append(l[:4:4], l[3:]...)) }, first + ":5", "stands after"},
		{"last line cut", activeName, func(b []byte) []byte { l := lines(b); return join(l[:len(l)-2]) }, activeName, "cut off"},
		{"cut within the last line", activeName, func(b []byte) []byte { return b[:len(b)-30] }, activeName, "cut off"},
		{"garbage", first, func(b []byte) []byte { l := lines(b); l[3] = []byte("\x1b[2Jnothing\n"); return join(l) }, first + ":4", "no record"},
		{"emptied", first, func([]byte) []byte { return nil }, activeName + ":1", "removed"},
		{"invented line", activeName, func(b []byte) []byte {
			l := lines(b)
			return append(bytes.Clone(b), l[len(l)-2]...)
		}, activeName, "stands after"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, _ := tamperLog(t)
			path := filepath.Join(dir, tt.file)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := tt.change(bytes.Clone(data))
			if bytes.Equal(changed, data) {
				t.Fatal("nothing was changed")
			}
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			rep := mustVerify(t, dir)
			if rep.Intact() {
				t.Fatal("not noticed")
			}
			got := rep.Findings[0].String()
			if !strings.HasPrefix(got, tt.at) || !strings.Contains(got, tt.says) {
				t.Errorf("got %q, want it at %q, with %q", got, tt.at, tt.says)
			}
			if strings.ContainsRune(got, '\x1b') {
				t.Errorf("the finding draws on the terminal: %q", got)
			}
			if len(rep.Findings) > 3 {
				t.Errorf("one change gives %d findings: %v", len(rep.Findings), rep.Findings)
			}
		})
	}
}

// TestGivenHead: a head that was kept elsewhere shows a log that was written anew.
func TestGivenHead(t *testing.T) {
	t.Parallel()
	dir, head := tamperLog(t)
	parsed, err := ParseHead(head.String())
	if err != nil || parsed != head {
		t.Fatalf("ParseHead(%q) = %v, %v", head, parsed, err)
	}
	for name, tt := range map[string]struct {
		head Head
		want string
	}{
		"its own": {head, ""},
		"longer":  {Head{head.Count + 5, head.Chain}, "it had"},
		"other":   {Head{head.Count, Hash{1}}, "written anew"},
	} {
		rep, err := Verify(t.Context(), dir, VerifyOptions{Head: &tt.head})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(rep.Findings); (tt.want == "") != rep.Intact() || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, bad := range []string{"", "5", "x:00", "5:zz", "-1:" + head.Chain.String()} {
		if _, err := ParseHead(bad); err == nil {
			t.Errorf("ParseHead(%q) succeeds", bad)
		}
	}
}

func TestVerifyWithoutLog(t *testing.T) {
	t.Parallel()
	if _, err := Verify(t.Context(), filepath.Join(t.TempDir(), "none"), VerifyOptions{}); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("error %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}
