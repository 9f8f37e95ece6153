# Everything sets itself up; on a bare Debian only go, gcc and make are needed.

GO      ?= go

.PHONY: all build demo run test bench fuzz lint setup clean help

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

test: setup build lint ## run all tests: without a mount under -race, then with real mounts
	$(GO) test -race -timeout 10m ./internal/... ./client/... ./wcfs/...
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m ./internal/isolation -run EveryLiveClient -schedules 50000
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m ./t/...

lint: ## what must hold of every file
	@test -z "$$(gofmt -l wcfs internal client t)" || { echo "not gofmt-clean:"; gofmt -l wcfs internal client t; exit 1; }
	$(GO) vet ./...

bench: setup build ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./internal/... ./client/... ./t/...

fuzz: ## fuzz every target for FUZZTIME (default 1m)
	@t/fuzz.sh $${FUZZTIME:-1m}

clean: ## remove what was built
	rm -rf bin
