# Each target is a section of .ci/run, which says what it does; `make check` is what CI runs.
.PHONY: build check test lint vuln race fuzz bench e2e soak snapshot tools golden docs clean

build:            ## the program, into ./regctl-setup
	CGO_ENABLED=0 go build -trimpath -o regctl-setup ./cmd/regctl-setup

check:            ## everything, as in CI
	.ci/run

test lint vuln race fuzz bench snapshot tools:
	.ci/run $@

e2e:              ## with real registries, Caddy, crane and skopeo; missing parts are skipped
	REGCTL_SETUP_E2E_REQUIRED= .ci/run e2e

soak:             ## load on one embedded registry; SOAK=10m for longer
	REGCTL_SETUP_SOAK=$(or $(SOAK),2m) go test -tags e2e -count=1 -timeout 2h -run '^TestSoak$$' -v ./e2e

golden:           ## rewrite the expected files; read the diff before it is committed
	UPDATE_SCRIPTS=1 go test ./cmd/regctl-setup
	go test $$(grep -rlE 'flag.Bool\("update"' --include='*_test.go' internal | xargs -n 1 dirname | sort -u | sed 's,^,./,') -update

docs:             ## check that the documents tell the truth: examples, tables, links
	go test ./... -run 'Docs?$$|Documented|README'

clean:
	rm -rf .bin dist regctl-setup
