//go:build !linux

package main

import (
	"errors"
	"time"
)

// ownCPU is not known here.
func ownCPU() time.Duration { return 0 }

func cpuOf(int) (time.Duration, error) {
	return 0, errors.New("-pid needs Linux")
}
