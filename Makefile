# Everything sets itself up; on a bare Debian only go, gcc and make are needed.

GO      ?= go

PREFIX  ?= /usr/local
DESTDIR ?=
SBIN    ?= /sbin
UNITS   ?= $(if $(filter /usr,$(PREFIX)),/usr/lib,/etc)/systemd/system
# How long make soak runs, and what its writer leaves out; see t/witness/chaos.py.
SOAK    ?= 2h
WITHOUT ?=
VERSION ?= 0.0.$(shell git rev-list --count HEAD 2>/dev/null || echo 0)

.PHONY: all build demo run test soak bench fuzz lint setup install uninstall deb clean help

all: build

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

build: ## build bin/wcfs, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/wcfs ./wcfs

demo: setup build ## show in a few seconds what this is for
	@bin/wcfs demo

run: setup build ## serve the sample database until Ctrl-C
	@t/run.sh bin/wcfs t/testdata/basic.fs

setup: ## check what mounting and testing need; install or name what is missing
	@t/setup.sh

test: setup build bin/venv lint ## run all tests: without a mount under -race, random ones longer, then with real mounts
	$(GO) test -race -timeout 10m ./internal/... ./client/... ./wcfs/...
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m ./internal/tail ./internal/head
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m ./internal/isolation -run EveryLiveClient -schedules 15000
	@t/setup.sh test
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m $$($(GO) list ./t/... | grep -v /witness)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m ./t/witness -duration 1m -without "$(WITHOUT)"

soak: setup bin/venv ## run the random tests for long: first real clients and ZODB for SOAK (default 2h)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 0 ./t/witness -v -duration $(SOAK) -without "$(WITHOUT)"
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 60m ./t -run StartRightAfterAnEnd -restarts 1000
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 60m ./internal/transfer -kills 500 -appends 10000
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 60m ./internal/tail -histories 100000
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 60m ./internal/isolation -run EveryLiveClient -schedules 500000

bin/venv: t/witness/requirements.txt t/witness/venv.sh # the Python of t/witness, with ZODB
	@t/setup.sh python
	@t/witness/venv.sh $@
	@touch $@

lint: ## what must hold of every file
	@test -z "$$(gofmt -l wcfs internal client t)" || { echo "not gofmt-clean:"; gofmt -l wcfs internal client t; exit 1; }
	$(GO) vet ./...

bench: setup build ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./internal/... ./client/... ./t/...

fuzz: ## fuzz every target for FUZZTIME (default 1m)
	@t/fuzz.sh $${FUZZTIME:-1m}

install: build ## install below $DESTDIR: program, mount helper, unit, manual, completion
	@dist/install.sh bin/wcfs "$(DESTDIR)" "$(PREFIX)" "$(SBIN)" "$(UNITS)"

uninstall: ## remove what install has put there
	@dist/uninstall.sh "$(DESTDIR)" "$(PREFIX)" "$(SBIN)" "$(UNITS)"

deb: build ## build a Debian package below bin/
	@rm -rf bin/deb
	@dist/install.sh bin/wcfs "$(CURDIR)/bin/deb" /usr /usr/sbin /usr/lib/systemd/system
	@dist/deb.sh bin/deb "$(VERSION)" "bin/wcfs_$(VERSION)_$$(dpkg --print-architecture).deb"
	@rm -rf bin/deb

clean: ## remove what was built
	rm -rf bin
