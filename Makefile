# Everything sets itself up; on a bare Debian only make and Go are needed, and gcc for
# the tests. What is missing is named, or installed where that may be.

GO      ?= go
export GO
# The stamp below says of which commit this is, also in a checkout of another user and
# in an archive, where the go command would fail or know nothing (-buildvcs). There is one
# way to compile all but what runs under -race, so that it is compiled once.
export GOFLAGS := $(GOFLAGS) -buildvcs=false -trimpath
export CGO_ENABLED := 0

PREFIX  ?= /usr/local
DESTDIR ?=
SBIN    ?= /sbin
UNITS   ?= $(if $(filter /usr,$(PREFIX)),/usr/lib,/etc)/systemd/system
# How long make soak runs, and what its writer leaves out; see t/witness/chaos.py.
SOAK    ?= 2h
WITHOUT ?=
# How often make bench measures each row.
ROUNDS  ?= 7
# All tests look for misuse that would else show only by its consequences.
TEST    := $(GO) test -tags invariants -vet=off
# Begun first, since one of them that ran alone at the end would leave processors idle.
LONGEST := $(addprefix ./internal/,zodb/zeo core/live zodb/fs1 core/isolation)
# Tests of memory run with the pools that users have, and without the detector of races.
MEMORY  := TakesNoMemory|LittleMemory|InProportion|RepeatedWork
MOUNTED := $(TEST) -count=1 -timeout 10m
# The scenarios of t/live and t/watch that make test runs behind a ZEO server, too, and make
# soak in PostgreSQL.
ON_SERVER = ^Test(ClientShowsItsView|ClosedMemory|TwoViews|CallsSay|Watch|Pin|NoPin|Setup|Growth|Shrink|ClientThat(Never|Maps|Hangs|Fails)|Exactly|Replaced|Hole|ReadsAreCut|RandomHistory|Stalled|ServerStarted|Sequential|BlockObject|Shared|Emptied|WhatIsPinned|ZHeadTells|Size|Unrelated)
VERSION := $(shell sed -n 's/^const Version = "\(.*\)"/\1/p' internal/serve/release/release.go)
STAMP    = -X github.com/wcfs/wcfs/internal/serve/release.stamp=$(shell dist/stamp.sh)

.PHONY: all build lib wheel demo run test testsetup soak bench bench-go bench-compare fuzz lint formatted setup install uninstall deb release clean help

all: build

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

build: ## build bin/wcfs, one static binary
	@t/setup.sh go
	$(GO) build -ldflags "$(STAMP)" -o bin/wcfs ./wcfs

lib: ## build libwcfs for programs in C, bin/libwcfs.so and bin/libwcfs.a
	@t/setup.sh cc
	@dist/lib.sh bin

wheel: ## build a wheel of the Python package, with libwcfs inside, below bin/
	@t/setup.sh cc
	@t/setup.sh python
	@dist/wheel.sh bin

demo: setup build ## show in a few seconds what this is for
	@bin/wcfs demo

run: setup build ## serve the sample database until Ctrl-C
	@t/run.sh bin/wcfs t/testdata/basic.fs

setup: ## check what building and mounting need; install or name what is missing
	@t/setup.sh go
	@t/setup.sh

test: testsetup build formatted ## run all tests: without a mount under -race, random ones longer, then with real mounts
	+@$(MAKE) --no-print-directory -j 4 bin/venv bin/venv-clients bin/venv-zeo5 bin/venv-zeo6 bin/venv-relstorage bin/promtool
	CGO_ENABLED=1 $(TEST) -race -short -skip '$(MEMORY)' -p 3 -parallel 4 -timeout 10m $(LONGEST) ./internal/... ./client/... ./wcfs/...
	$(GO) test -vet=off -count=1 -run '$(MEMORY)' $(addprefix ./internal/,zodb/bigfile zodb/pickle zodb/zeo arrays/catalog)
	$(MOUNTED) -short ./internal/core/versions ./internal/core/live ./internal/core/isolation
	$(MOUNTED) -p 2 -parallel 3 $$($(GO) list ./t/... | grep -v -e /clients -e /witness)
	$(MOUNTED) -parallel 4 ./t/clients
	$(MOUNTED) -p 2 -parallel 2 ./t/live ./t/watch ./t/clients -on zeo -run '$(ON_SERVER)'
	$(MOUNTED) ./t/witness -duration 20s -without "$(WITHOUT)"

testsetup: setup
	@t/setup.sh test

soak: testsetup bin/venv bin/venv-clients bin/venv-zeo5 bin/venv-zeo6 bin/venv-relstorage ## run the random tests for long: first real clients and ZODB for SOAK (default 2h)
	$(MOUNTED) -timeout 0 ./t/witness -v -duration $(SOAK) -without "$(WITHOUT)"
	CGO_ENABLED=1 $(TEST) -race -count=1 -timeout 60m ./internal/... # without -short
	$(MOUNTED) -timeout 60m ./t/operate -run StartRightAfterAnEnd -restarts 1000
	$(MOUNTED) -timeout 60m -p 2 -parallel 2 ./t/live ./t/watch -on postgresql -run '$(ON_SERVER)'
	$(MOUNTED) -timeout 60m ./t/clients -v -run Python -effort 10
	$(MOUNTED) -timeout 60m ./internal/arrays/transfer -kills 500 -appends 10000
	$(MOUNTED) -timeout 60m ./internal/core/live -run BruteForce -histories 100000
	$(MOUNTED) -timeout 60m ./internal/core/isolation -run EveryLiveClient -schedules 500000
	$(MOUNTED) -timeout 60m ./internal/zodb/fs1 -run OneWrongBit -flips 1000
	$(MOUNTED) -timeout 60m ./internal/zodb/postgresql -run EveryCommit -commits 10000

bin/venv: t/witness/requirements.txt t/witness/venv.sh # the Python of t/witness, with ZODB
	@t/setup.sh python
	@t/witness/venv.sh $@
	@touch $@

bin/venv-clients: client/python/requirements-test.txt t/witness/venv.sh # the Python of t/clients, with NumPy
	@t/setup.sh python
	@t/witness/venv.sh $@ $<
	@touch $@

bin/venv-zeo%: internal/zodb/zeo/testdata/requirements-%.txt internal/zodb/zeo/testdata/venv.sh # the Pythons of storage/zeo
	@t/setup.sh python
	@internal/zodb/zeo/testdata/venv.sh $@ $<
	@touch $@

bin/venv-relstorage: internal/zodb/postgresql/testdata/requirements.txt t/witness/venv.sh # the Python of zodb/postgresql
	@t/setup.sh python
	@t/witness/venv.sh $@ $<
	@touch $@

bin/promtool: # of Prometheus: checks the alerts, where Debian packages can be had
	@t/setup.sh promtool $@

lint: formatted ## what must hold of every file
	$(GO) test -count=1 ./t/lint

formatted:
	@test -z "$$(gofmt -l wcfs internal client t)" || { echo "not gofmt-clean:"; gofmt -l wcfs internal client t; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags invariants ./internal/core/... ./internal/zodb/storage

bench: setup ## print the table of doc/performance.rst, and write it to bin/bench.json; takes 5 minutes, as root
	@t/setup.sh cc
	@mkdir -p bin
	$(GO) test -run '^$$' -bench Table -benchtime $(ROUNDS)x -timeout 20m ./t/perf -rest 5m -to "$(CURDIR)/bin/bench.json"

bench-go: setup ## run all other benchmarks
	$(GO) test -p 1 -run '^$$' -bench . -benchmem $$($(GO) list ./internal/... ./client/... ./t/... | grep -v /t/perf$$)

bench-compare: setup ## compare the benchmarks with those of the commit OLD; COUNT, BENCH and PKGS say which
	@t/benchcompare.sh "$(OLD)"

fuzz: ## fuzz every target for FUZZTIME (default 1m)
	@t/fuzz.sh $${FUZZTIME:-1m}

# No go is needed for that: root may have none in its PATH.
install: bin/wcfs ## install what make has built below $DESTDIR: program, mount helper, unit, manual, completion, dashboard, alerts
	@dist/install.sh bin/wcfs "$(DESTDIR)" "$(PREFIX)" "$(SBIN)" "$(UNITS)"

bin/wcfs:
	@echo "there is no bin/wcfs to install: run make first, as the user who has Go" >&2; exit 1

uninstall: ## remove what install has put there
	@dist/uninstall.sh "$(DESTDIR)" "$(PREFIX)" "$(SBIN)" "$(UNITS)"

deb: build lib ## build Debian packages of the program, and of libwcfs, below bin/
	@dist/deb.sh bin/wcfs bin

release: ## build a tarball, a Debian package of it, and their checksums below dist-out/
	@dist/release.sh "$(VERSION)" dist-out

clean: ## remove what was built
	rm -rf bin dist-out
