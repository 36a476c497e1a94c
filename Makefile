# Fieldpost: `make` lists the commands.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
ROUNDS  ?= 300
TIME    ?= 30s
N       ?= 200

# The race detector needs cgo and a C compiler. It makes each process wait a second at
# its end, by default: the tests start many.
RACE    := $(shell CGO_ENABLED=1 sh -c '$(GO) env CC | xargs which' >/dev/null 2>&1 && echo -race)

.DEFAULT_GOAL := help
.PHONY: help build test sim e2e-long fmt lint fuzz bench powercut failedio injuries systemd wine dist-windows dist dist-check demo clean

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## build bin/agent and bin/collector
	CGO_ENABLED=0 $(GO) build -trimpath -tags nethttpomithttp2 -ldflags "-s -w -X github.com/fieldpost/fieldpost/internal/daemon.version=$(VERSION)" -o bin/ ./cmd/agent ./cmd/collector

test: ## run all tests (unit tests with the race detector where a C compiler is)
	@test -n "$(RACE)" || echo "no C compiler found: the tests run without the race detector"
	$(GO) vet ./...
	GORACE=atexit_sleep_ms=10 $(GO) test $(RACE) -timeout 15m $$($(GO) list ./... | grep -v /internal/e2e)
	$(GO) test -timeout 15m ./internal/sim
	$(GO) test -timeout 30m -v ./internal/e2e
	$(GO) test -tags fieldpost_sabotage -run '^TestSabotage' ./queue
	$(GO) test -tags fieldpost_sabotage -run '^TestSabotage' ./internal/injuries
	FIELDPOST_SABOTAGE=nodedupe $(GO) test -tags fieldpost_sabotage -run '^TestSabotage' ./collector/journal
	$(GO) test -tags fieldpost_sabotage -run '^TestSabotage' ./collector/journal
	cd internal/embedder && $(GO) test ./...
	cd bench && $(GO) vet ./... && $(GO) test -count=1 ./...

sim: ## play N=100000 seeded schedules of agents and a collector in one bubble; failures print the seed and a log
	$(GO) test -count=1 -timeout 0 -v -run '^TestSchedules$$' ./internal/sim -power -schedules $(if $(filter command,$(firstword $(origin N))),$(N),100000) -again 200

e2e-long: ## kill agent and collector ROUNDS=300 times each, over real binaries
	$(GO) test -timeout 6h -v ./internal/e2e -rounds $(ROUNDS)

fmt: ## format the code
	gofmt -w .

lint: ## gofmt, go vet, staticcheck, for Linux and Windows; builds for macOS
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run make fmt"; exit 1; }
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	GOARCH=arm $(GO) vet ./...
	for a in amd64 arm64; do GOOS=darwin GOARCH=$$a CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/agent && GOOS=darwin GOARCH=$$a CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/collector || exit 1; done
	cd tools && $(GO) build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck ./...
	GOOS=windows bin/staticcheck ./...
	cd bench && ../bin/staticcheck ./...
	cd rigs/powercut && $(GO) vet ./... && ../../bin/staticcheck ./...
	cd rigs/systemd && $(GO) vet ./... && ../../bin/staticcheck ./...
	cd rigs/wine && $(GO) vet ./... && ../../bin/staticcheck ./...
	cd install/dist && $(GO) vet ./... && ../../bin/staticcheck ./...
	shellcheck install/install.sh install/dist/check.sh install/packages/scripts/deb/* install/packages/scripts/apk/*
	shellcheck -s sh install/packages/scripts/rpm/* install/packages/scripts/*.sh

fuzz: ## fuzz every parser for TIME=30s each
	@for f in $$(grep -rlE '^func Fuzz' --include=*_test.go .); do \
	  for t in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+).*/\1/p' $$f); do \
	    echo "$$t in $$(dirname $$f)"; $(GO) test -run '^$$' -fuzz "^$$t$$" -fuzztime $(TIME) $$(dirname $$f) || exit 1; \
	done; done

bench: ## run the benchmarks, then measure with real processes (docs/BENCHMARKS.md; about 15 minutes)
	$(GO) test -run '^$$' -bench . -benchmem ./...
	cd bench && $(GO) run .

powercut: ## cut the power N=200 times under agents and journals, half as often on ext4 (needs root and /dev/fuse)
	cd rigs/powercut && $(GO) test -count=1 -timeout 24h -v . -cuts $(N) -ext4 $$(($(N) / 2))
	cd rigs/powercut && $(GO) test -count=1 ./lossy
	cd rigs/powercut && $(GO) test -count=1 -v -tags fieldpost_sabotage -run Sabotage .

failedio: ## let N=200 operations on a disk fail, each in a life of agent and collector; N=0: all (needs root and /dev/fuse)
	cd rigs/powercut && $(GO) test -count=1 -timeout 24h -v ./failedio -faults $(N)
	cd rigs/powercut && $(GO) test -count=1 -v -tags fieldpost_sabotage -run Sabotage ./failedio

systemd: ## run agent and collector as services under a real systemd (needs root and systemd-nspawn)
	cd rigs/systemd && $(GO) test -count=1 -timeout 20m -v .

wine: ## run the Windows programs under wine: services, installer, damage, power cuts (needs root, /dev/fuse, wine64, wixl, osslsigncode)
	cd rigs/wine && $(GO) test -count=1 -timeout 20m -v .

dist: ## make the packages, archives, bills of materials and sums of a release in dist/
	rm -rf dist
	cd install/dist && $(GO) run .
	@if command -v wixl >/dev/null && command -v msibuild >/dev/null; then $(MAKE) dist-windows; \
	else echo "wixl and msibuild are not here (apt install wixl msitools): nothing is made for Windows"; fi
	cd install/dist && $(GO) run . -sums

dist-check: ## look into a release for every architecture, and make one twice, in different folders: byte by byte the same
	cd install/dist && $(GO) test -count=1 -timeout 30m -v . -arches amd64,arm64,armv7,riscv64
	install/dist/check.sh

injuries: ## damage the folders of N=200 real lanes, and of as many journals, and judge what becomes of them
	$(GO) test -count=1 -timeout 24h -v ./internal/injuries -injuries $(N) -rivals 10
	$(GO) test -count=1 -timeout 24h -v -run '^TestInjuries$$' ./collector/journal -injuries $(N)

dist-windows: ## build zips and installers for Windows in dist/ (needs wixl, msibuild; signed if FIELDPOST_SIGN_CERT and _KEY name files)
	$(GO) run ./install/windows -version $(VERSION) -out dist

demo: ## run the demo
	$(GO) run ./cmd/collector demo

clean: ## remove what make built
	rm -rf bin dist
