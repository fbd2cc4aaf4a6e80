# Everything a developer or a pipeline runs. `make test` works on a fresh Debian 12 that has Go, make and git.

GO            ?= go
TEST_TIMEOUT  ?= 60m
FUZZTIME      ?= 20s
GOLANGCI      := bin/golangci-lint
GOLANGCI_VERSION := v2.15.0

.PHONY: build release setup test lint lint-tool bench soak fuzz clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/lifeboat ./cmd/lifeboat

# Binaries, packages, bills of materials and checksums of the commit that is checked out. Its tools are a module of their own.
release:
	rm -rf dist
	$(GO) -C packaging run . -out "$(CURDIR)/dist"

setup:
	@scripts/setup

# The race detector needs cgo, and cgo needs the gcc that setup installs. Tests wait for servers more than they work: four at a time.
test: setup
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race -parallel 4 -timeout $(TEST_TIMEOUT) ./...
	$(GO) -C packaging vet ./...
	$(GO) -C packaging test -timeout $(TEST_TIMEOUT) ./...

lint-tool: $(GOLANGCI)-$(GOLANGCI_VERSION)

# The version is part of the name, so that raising it here installs it.
$(GOLANGCI)-$(GOLANGCI_VERSION):
	@mkdir -p bin
	@echo "lint: building golangci-lint $(GOLANGCI_VERSION); once, some minutes"
	GOFLAGS= GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(GOLANGCI) $@

lint: lint-tool
	$(GOLANGCI)-$(GOLANGCI_VERSION) run ./...
	cd packaging && ../$(GOLANGCI)-$(GOLANGCI_VERSION) run ./...

# One table; alone on the machine. BENCHFLAGS="-engine postgres", "-copies" or "-mb 512 -aging 168" and the like change what is measured.
bench:
	$(GO) run ./bench $(BENCHFLAGS)

# The long versions of the tests: every crash point, hundreds of rounds against a live writer.
soak: setup
	LIFEBOAT_SOAK=1 $(GO) test -timeout 3h ./...

# Each fuzz target in turn, FUZZTIME long.
fuzz:
	@GO="$(GO)" scripts/fuzz $(FUZZTIME)

clean:
	rm -rf bin dist tmp
	$(GO) clean -testcache
