//go:build !linux

package sdnotify

import "time"

func monotonic() (time.Duration, bool) { return 0, false }
