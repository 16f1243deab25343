package yamledit

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// bigFile returns a config with many users and entries, as a large deployment
// has it.
func bigFile(users, entries int) []byte {
	var b bytes.Buffer
	b.WriteString("# generated\nserver:\n  addr: \":5001\"\n\ntoken:\n  issuer: \"x\"\n  expiration: 900\n\nusers:\n")
	for i := range users {
		fmt.Fprintf(&b, "  \"user-%06d\": # person %d\n    password: \"$2y$10$Ln1aXnZ8yB0cUeJ5q1J5UuX7VQ7dTQ0hB5k4cZ6cU3iH2m6l2G9aa\"\n    labels:\n      team: [\"team-%d\"]\n", i, i, i%100)
	}
	b.WriteString("\nacl:\n")
	for i := range entries {
		fmt.Fprintf(&b, "  - match: {account: \"user-%06d\", type: \"repository\", name: \"team-%d/*\"}\n    actions: [\"pull\", \"push\"]\n    comment: \"rule %d\"\n", i, i%100, i)
	}
	return b.Bytes()
}

func BenchmarkInsertKey(b *testing.B) {
	for _, size := range []struct{ users, entries int }{{1_000, 0}, {10_000, 0}, {10_000, 10_000}, {100_000, 0}} {
		data := bigFile(size.users, size.entries)
		b.Run(fmt.Sprintf("users=%d/entries=%d", size.users, size.entries), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var library, edit time.Duration
			for b.Loop() {
				start := time.Now()
				var n yaml.Node
				if err := yaml.Unmarshal(data, &n); err != nil {
					b.Fatal(err)
				}
				library += time.Since(start)
				start = time.Now()
				d, err := Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := d.InsertKey(Path{"users"}, "zoe", user("backend"), Last()); err != nil {
					b.Fatal(err)
				}
				edit += time.Since(start)
			}
			b.ReportMetric(float64(edit)/float64(library), "×yaml.v3-parse")
			b.ReportMetric(float64(edit.Microseconds())/float64(b.N)/float64(size.users+size.entries), "µs/entry")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	data := bigFile(100_000, 0)
	b.Run("yaml.v3", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var n yaml.Node
			if err := yaml.Unmarshal(data, &n); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("yamledit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
