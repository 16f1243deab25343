package cli

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/authserver"
	"github.com/regctl-setup/regctl-setup/internal/sdnotify"
)

// startedBy finds the service manager that wants to be notified, nil where there is none, and
// the sockets that it has opened for this process. What it left in the environment is taken
// out, so that programs that this process starts do not speak in its name.
func startedBy() (*sdnotify.Manager, []net.Listener, error) {
	manager, err := sdnotify.Connect(os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	listeners, err := sdnotify.Listeners(os.Getenv, os.Getpid())
	if err != nil {
		_ = manager.Close()
		return nil, nil, err
	}
	for _, name := range sdnotify.Variables() {
		_ = os.Unsetenv(name)
	}
	return manager, listeners, nil
}

// tell logs that the service manager could not be told something.
func tell(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("the service manager was not notified", "error", err.Error())
	}
}

// watchdog tells the service manager that the server is alive, as long as it answers itself.
func watchdog(ctx context.Context, manager *sdnotify.Manager, srv *authserver.Server, log *slog.Logger) {
	every := manager.WatchdogInterval()
	if every <= 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		checkCtx, cancel := context.WithTimeout(ctx, every)
		err := srv.SelfCheck(checkCtx)
		cancel()
		switch {
		case ctx.Err() != nil:
			// It drains; the manager has its own limit for that, and its watchdog goes on.
			tell(log, manager.Alive())
			return
		case err != nil:
			log.Error("the server does not answer itself; the service manager's watchdog will end it", "error", err.Error())
		default:
			tell(log, manager.Alive())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
