# Megaphone. "make" alone lists the targets.

VERSION := $(shell scripts/version.sh)
FUZZTIME ?= 20s
SEEDS ?= 1-1000
BENCH ?= .
EJABBERD_RELEASES ?= trixie

.DEFAULT_GOAL := help
.PHONY: help run run-ejabberd build test test-ejabberds check check-code check-sim check-tls sim bench bench-million bench-million-ejabberd bench-storm bench-peers bench-tls bench-takeover bench-websocket fuzz package image qemu-tune clean format vet lint race setup-run setup-test

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build, and chat on http://127.0.0.1:5280/
	bin/megaphone demo

run-ejabberd: build ## the same with a real ejabberd behind the edge
	@scripts/setup.sh run-ejabberd
	scripts/run-ejabberd.sh

build: setup-run ## build bin/megaphone
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/megaphone ./cmd/megaphone

test: setup-test build ## run all tests: Go, Erlang, Node.js, Chromium
	go test -timeout 40m ./...
	go test -count=1 -tags sim ./loop/sys
	SIM_TIME=30s go test -count=1 -v -tags sim ./tests/sim -run 'Seed|Shrink'
	scripts/eunit.sh
	cd tests/browser && node --test --test-concurrency=1 --test-timeout=180000

# Each release's ejabberd and Erlang are unpacked into a directory of their own; nothing is installed on this host.
test-ejabberds: setup-test ## test the module with the ejabberds of newer Debian releases (EJABBERD_RELEASES="trixie sid")
	@for release in $(EJABBERD_RELEASES); do \
		scripts/ejabberd-root.sh $$release .ejabberd-roots/$$release || exit; \
		export EJABBERD_ROOT="$$PWD/.ejabberd-roots/$$release"; \
		echo "with the ejabberd of $$release:"; \
		scripts/eunit.sh || exit; \
		go test -count=1 ./tests/servers -run '$(EJABBERD_TESTS)' || exit; \
		go test -count=1 ./tests/chaos -run TestEjabberd || exit; \
	done

# What another ejabberd may change. The others are about edges, gateways, Prosody and this host's packages.
EJABBERD_TESTS := ^Test(Sleep|WebSocket($$|Off|Resume|Cluster|Sleep|Upgrade)|SocketDialogues|UsersOfTheEngine|Dialogues$$|ModuleInstall|ListenerOptions|TwoRequestsAtOnce$$|FirstTwo|Cluster|LinkCut|EdgeKilled|EjabberdKilled|ClientsVanish)

check: check-code test-ejabberds ## check-code, and test-ejabberds
	@echo 'check: all passed'

check-code: setup-test build format vet lint race check-sim fuzz ## gofmt, vet, staticcheck, races and invariants, fuzz (FUZZTIME=20s)

sim: ## simulate the histories of seeds, two minutes; SEEDS=1-1000, or SEEDS=7-7 to repeat one
	scripts/sim.sh $(SEEDS) sim,invariants

check-sim: ## simulate 5,000 seeds, and find each planted bug; ten minutes
	scripts/sim.sh 1-5000 sim,invariants
	SIM_MUTATIONS=1 go test -count=1 -timeout 0 -v -tags sim ./tests/sim -run '^TestPlanted'

check-tls: setup-test ## test TLS by BoringSSL's suite, beside crypto/tls alone; half a minute
	go test -count=1 -v ./tests/conformance

bench: setup-run ## measure: codec, tables, a request's way, requests/s, bytes a connection (BENCH=. is the pattern)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...
	go build -o bin/bench ./bench
	bin/bench

bench-million: ## hold a million sessions, and measure; ten minutes (ARGS=--help; ARGS='--transport websocket')
	scripts/bench-million.sh $(ARGS)

bench-million-ejabberd: setup-test ## hold a million sessions in one ejabberd on this machine; 40 minutes (ARGS=--help)
	scripts/bench-million-ejabberd.sh $(ARGS)

bench-storm: ## kill the origin of 100,000 sessions, and see how all come back; 2 minutes (ARGS=--help)
	scripts/bench-million.sh --sessions 100000 --storm 6s --out bench-storm $(ARGS)

bench-peers: ## nginx, HAProxy and Pushpin beside the edge; ten minutes (ARGS=--help)
	scripts/bench-peers.sh $(ARGS)

bench-websocket: setup-test ## WebSockets of the edge beside a Go chat and ejabberd; 15 minutes (ARGS=--help)
	scripts/bench-websocket.sh $(ARGS)

bench-tls: ## nginx, HAProxy and hitch beside the edge, all with TLS; ten minutes (ARGS=--help)
	scripts/bench-tls.sh $(ARGS)

bench-takeover: build ## ten upgrades of an edge under the chat of 50,000 sessions; 3 minutes (ARGS=-help)
	go build -o bin/bench-takeover ./bench/takeover
	bin/bench-takeover $(ARGS)

fuzz: ## run each fuzz target for FUZZTIME=20s
	scripts/fuzz.sh $(FUZZTIME)

qemu-tune: ## tune a stock kernel in QEMU and hold 100,000 sessions in it; 4 minutes on two idle cores
	scripts/qemu-tune.sh

package: setup-run ## build dist/*.deb and dist/*.rpm
	scripts/package.sh dist

image: setup-run ## make dist/image: from it docker or podman build the images, and compose runs them
	scripts/image.sh dist/image

clean: ## remove all that was built or installed here
	rm -rf bin dist .ejabberd-roots .bogo tests/browser/node_modules cmd/megaphone/page/strophe.umd.min.js coverage.out

setup-run:
	@scripts/setup.sh run

setup-test:
	@scripts/setup.sh test

format:
	@files=$$(find . -name node_modules -prune -o -name '*.go' -exec gofmt -l {} +); \
	if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

# The chat page is embedded in the binary: without it neither vet nor the others can load cmd/megaphone.
vet: setup-run
	go vet ./...
	go vet -tags invariants ./...
	go vet -tags sim ./loop/... ./edge ./tests/sim

lint: setup-run
	go tool staticcheck ./...
	go tool staticcheck -tags invariants ./...
	go tool staticcheck -tags sim ./loop/sys ./tests/sim

# One build has both the race detector and the invariants, so each test runs once more and not twice. tests/chaos builds
# the program so as well. The other tests of programs measure memory and time, which are not those of this build.
race: build
	go test -race -tags invariants -timeout 20m $$(go list ./... | grep -vE '/tests(/(servers|packages|conformance))?$$')
