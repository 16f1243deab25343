# Each target is a section of .ci/run, which says what it does; `make check` is what CI runs.
.PHONY: build check test lint vuln race fuzz bench e2e e2e-full e2e-clients soak snapshot tools tools-full golden docs clean

build:            ## the program, into ./regctl-setup
	CGO_ENABLED=0 go build -trimpath -o regctl-setup ./cmd/regctl-setup

check:            ## everything, as in CI
	.ci/run

test lint vuln race fuzz bench snapshot tools tools-full:
	.ci/run $@

e2e:              ## with real registries, Caddy, crane and skopeo; missing parts are skipped
	REGCTL_SETUP_E2E_REQUIRED= .ci/run e2e

e2e-full:         ## the same with every storage, registry and engine, as root
	.ci/run tools e2e-full

e2e-clients:      ## every client that people use, both registries; CLIENTS=-update-clients rewrites docs/clients.md
	.ci/run tools e2e-clients

soak:             ## tests with their full counts, and their figures; SOAK=10m for a longer load
	.ci/run soak

golden:           ## rewrite the expected files; read the diff before it is committed
	UPDATE_SCRIPTS=1 go test ./cmd/regctl-setup
	go test $$(grep -rlE 'flag.Bool\("update"' --include='*_test.go' internal | xargs -n 1 dirname | sort -u | sed 's,^,./,') -update

docs:             ## check that the documents tell the truth: examples, tables, links
	go test ./... -run 'Docs?$$|Documented|README'

clean:
	rm -rf .bin dist regctl-setup
