// Package e2e runs the product against real parts, as a person would: the program
// itself, the CNCF distribution registry in both major versions, Caddy with a CA of its
// own, crane and skopeo. All are processes on loopback.
//
// The tests stand behind the build tag e2e:
//
//	make tools                      # builds crane, caddy, registry and the others into .bin
//	go test -tags e2e ./e2e/...     # or: make e2e
//
// As root there are tests on a Docker engine of their own too: each storage, registry and
// token server once, all combinations with REGCTL_SETUP_E2E_FULL=1 (make e2e-full).
//
// A part that the machine lacks makes the tests that need it skip with the reason;
// with REGCTL_SETUP_E2E_REQUIRED=1, as in CI, they fail instead. The parts are looked
// for in .bin, then in PATH.
//
// A site is a running registry with rights, whatever runs it: `up` with everything in
// one process, or `serve`, a registry and Caddy, each configured by the files that
// `init` wrote. The stories are written once, against a site.
package e2e
