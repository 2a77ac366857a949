.PHONY: build test lint bench demo

build:
	go build -trimpath -o homing ./cmd/homing

# Installs what it can (Debian, root) and runs all tests.
test:
	./test.sh

lint:
	go vet ./...
	go tool -modfile=tools/go.mod golangci-lint run ./...

# For example: make bench PKG=./lmtp BENCH=Deliver
PKG ?= ./...
BENCH ?= .
bench:
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

demo:
	go run ./cmd/homing demo
