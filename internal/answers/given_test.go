package answers_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/regctl-setup/regctl-setup/internal/answers"
)

func TestGivenYAML(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file string
		want       []string
	}{
		{"empty", "", nil},
		{"broken", "domain: [", nil},
		{"a value like the default is given too", "domain: localhost\nteams: []\n", []string{"domain", "team"}},
		{"nested", "s3:\n  bucket: b\n", []string{"s3-bucket"}},
		{"a parent alone gives nothing", "s3:\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := slices.Sorted(maps.Keys(answers.GivenYAML([]byte(tc.file))))
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	all := answers.Defaults()
	all.Storage = answers.StorageS3
	if given := answers.GivenYAML(all.Marshal()); !given["domain"] || !given["s3-bucket"] || !given["expiration"] {
		t.Errorf("a whole file gives %v", given)
	}
}
