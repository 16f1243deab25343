package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/hardening"
	"github.com/regctl-setup/regctl-setup/internal/logsink"
)

// flushTimeout is how long the end of a service waits for its log's destination.
const flushTimeout = time.Second

// harden keeps the passwords and keys of a command that serves out of core dumps.
func harden(log *slog.Logger) {
	if err := hardening.NoCoreDumps(); err != nil {
		log.Warn("core dumps of this process could not be switched off: they would hold keys and passwords", "error", err)
	}
}

// serviceLog makes the log of a command that serves: what reads stderr, or the disk behind
// it, must not be able to hold up or end the service. From here on all that the command
// says on stderr goes the same way. close writes out what is queued.
func (a *app) serviceLog(level slog.Level) (log *slog.Logger, state func() authserver.LogState, closeLog func()) {
	// Without this the runtime ends the process when the reader of stdout or stderr is gone.
	gone := make(chan os.Signal, 1)
	signal.Notify(gone, syscall.SIGPIPE)
	sink := logsink.New(a.io.ErrOut, logsink.Options{Now: a.now, Lost: a.lostLines})
	streams := *a.io
	streams.ErrOut = sink
	a.io = &streams
	state = func() authserver.LogState {
		st := sink.Stats()
		s := authserver.LogState{Written: st.Written, Dropped: st.Dropped, Queued: st.Queued}
		if st.Err != nil {
			s.Err = st.Err.Error()
		}
		return s
	}
	return a.logger(level), state, func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		_ = sink.Close(ctx) // there is nowhere left to say so
	}
}

// lostLines is the log line about missing ones, which no level leaves out.
func (a *app) lostLines(l logsink.Loss) []byte {
	var b bytes.Buffer
	hint := "the log's destination failed"
	if errors.Is(l.Err, logsink.ErrFull) {
		hint = "what reads the log is too slow, or had stopped"
	}
	slog.New(a.logHandler(&b, slog.LevelDebug)).Warn("log lines are missing here",
		"lines", l.Lines, "since", l.Since.UTC().Format(time.RFC3339), "reason", l.Err.Error(), "hint", hint)
	return b.Bytes()
}
