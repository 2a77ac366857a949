.PHONY: build deb image dist test lint bench torture soak fuzz demo

build:
	go build -trimpath -o homing ./cmd/homing

# The Debian package: make deb VERSION=1.2.3
deb:
	contrib/debian/build $(VERSION)

image:
	docker build --tag ghcr.io/homing-mail/homing:latest .

# All files of a release: make dist VERSION=v1.2.3
dist:
	.ci/release $(VERSION)

# Installs what it can (Debian, root) and runs all tests.
test:
	./test.sh

lint:
	go vet ./...
	.ci/lint

# Measures all that docs/performance.md tells, for about half an hour, and writes
# its tables and plot anew; all that was printed is in bench.txt. The machine
# should have nothing else to do. A part of it again, with the rest kept:
# go run ./internal/performance -repeat 15 -only Rivals
# One benchmark alone, and no page: make bench PKG=./lmtp BENCH=Deliver
REPEAT ?= 15
BENCH ?= .
bench:
ifdef PKG
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)
else
	go run ./internal/performance -repeat $(REPEAT)
endif

# Kills homing and breaks its neighbours while mail pours in, for about twenty
# minutes; the default `go test` does it for a minute and a half. A seed repeats
# the mail and the choices of a run.
KILLS ?= 1000
RATE ?= 10
SEED ?= 0
torture:
	go test -run '^TestTorture$$' -count=1 -timeout 0 -v ./internal/system \
		-torture.kills $(KILLS) -torture.rate $(RATE) -torture.seed $(SEED)

# Much mail for a long time, a day of none, and one message or mailbox that would
# keep the others waiting; the default `go test` does a little of each.
soak:
	go test -run '^TestSoak' -count=1 -timeout 0 -v ./cmd/homing ./internal/system -soak

# Ten minutes for each parser, one after another; an input that fails is kept in
# its testdata, those that found new ways through the code are in Go's build cache.
FUZZTIME ?= 10m
fuzz:
	grep -roE --include=*_test.go '^func Fuzz[A-Za-z]+' . | while IFS=: read -r file target; do \
		go test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)" || exit 1; \
	done

demo:
	go run ./cmd/homing demo
