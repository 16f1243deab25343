package config

import "github.com/regctl-setup/regctl-setup/internal/yamledit"

// errUnsafe is the splicer's error for an edit that it could not make without changing other text.
func errUnsafe() error { return yamledit.ErrUnsafe }
