# Targets for people: `make help`.

SHELL := /bin/bash
export CGO_ENABLED := 0

# Architectures that vic can make images for.
ARCHES := amd64,arm64

GOBUILD := go build -trimpath -buildvcs=auto -ldflags '-s -w'

# VM tests run one machine at a time in each package, and packages two at a
# time: never more than two machines.
TESTFLAGS := -p 2 -count=1 -timeout 60m -vet=off

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install the host packages that vic and its tests need
	@scripts/setup

.PHONY: programs
programs: ## compile vic-init and vic-env for ARCHES, to be embedded
	@go run -trimpath ./initramfs/programs/generate --arch $(ARCHES)

.PHONY: build
build: programs ## build bin/vic and bin/vic-env
	@mkdir -p bin
	$(GOBUILD) -o bin/ ./cmd/vic ./cmd/vic-env

# One virtual machine of this machine's kind: a vic that makes images for it
# alone compiles in half the time.
.PHONY: demo
demo: ARCHES = $(shell go env GOARCH)
demo: setup build ## build, install Debian onto a blank virtual disk, boot it, prove it
	bin/vic install debian --vm --disk out/demo.img,size=8G --memory 256M --yes \
		-o hostname=demo -o kernel=cloud

.PHONY: check
check: ## formatting, vet, staticcheck, import diagram, short tests
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w'; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test -short -vet=off ./... # vetted above

.PHONY: test
test: setup build check ## every test that this machine can run
	go test $(TESTFLAGS) ./...
	VIC_TEST_ALONE=1 go test $(TESTFLAGS) ./qemu-tests/accesspoint # two machines at once

.PHONY: bench
bench: setup build ## measure sizes and times; writes docs/benchmarks.md
	VIC_BENCH=1 go test -count=1 -timeout 60m -run TestBench -v ./qemu-tests/bench

.PHONY: docs
docs: build ## regenerate what is generated in docs/
	go test ./internal/cli -run Docs -update

.PHONY: clean
clean: ## remove what was built here (the cache in ~/.cache/vic stays)
	rm -rf bin out
