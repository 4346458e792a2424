# Everything a developer or the CI does with Armlet. `make help` lists it.
# demo and up need Go alone, and nothing here needs the network once the Go modules are in the cache.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# Every module is built with the dependencies of its own go.mod, as those who import or deploy it will build it;
# go.work only joins them for editors.
export GOWORK := off

WORKSPACE := $(shell sed -n 's|^[[:space:]]*\./\([^[:space:]]*\).*|\1|p' go.work)
MODULES   := $(filter-out tools,$(WORKSPACE)) tools

# Tools are compiled from tools/go.mod into bin/tools, again when it or the Go version changes.
TOOLS    := bin/tools
TOOL_KEY := $(shell { cat tools/go.sum && go version; } | cksum | cut -d' ' -f1)
tool      = $(TOOLS)/.$(1).$(TOOL_KEY)

GENERATORS := $(call tool,buf) $(call tool,protoc-gen-go) $(call tool,protoc-gen-go-grpc)
BUF        := PATH="$(CURDIR)/$(TOOLS):$$PATH" buf
PROTO      := --path proto/armlet

##@ Run

.PHONY: help
help: ## list these targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## build armlet and watch a wearer tap and pay, in a temporary folder
	@bin/armlet demo

.PHONY: up
up: build ## run the four services in one process until Ctrl-C, with its data in ./data
	@bin/armlet up

.PHONY: suite
suite: build ## the suite as processes on this machine; SUITE=cluster for several of each server and service
	@tools/suite.sh up

.PHONY: suite-down
suite-down: ## stop what `make suite` started; the data stays in ./data/suite
	@tools/suite.sh down

# The journeys that bring their own partner and accounts, and start and stop nothing.
ON_ANY_SUITE := ^(TestAWearerTapsAndPays|TestAVoucherAndAPaymentInOneTap|TestTapsWithoutAConnectionAreClearedLater|TestAPartnerBuildsAFeatureOfItsOwn|TestSixtyFour.*|TestAHundredTapsWithMoneyForFortyPayForty|TestATapThatBeginsAfterTheBandWasReportedLostIsRefused|TestAReplayedResponsePaysOnce|TestASupersededChallengeIsRefused|TestCallersGetWhatTheyMay)$$

SUITE_DATA := $(CURDIR)/data/suite$(SUITE:%=-%)

.PHONY: suite-test
suite-test: suite ## the journeys against what `make suite` started
	@cd test && ARMLET_ENDPOINTS="$(SUITE_DATA)/endpoints.json" ARMLET_TLS_CA="$(SUITE_DATA)/certificates/ca.pem" \
		go test -count=1 -run '$(ON_ANY_SUITE)' ./journey

.PHONY: compose-up
compose-up: build ## the suite of docker-compose.yml; brings a Docker engine and stand-ins for images where they are missing
	@tools/docker.sh run tools/compose.sh up

.PHONY: compose-down
compose-down: ## stop what `make compose-up` started, and its engine; the data stays in its volumes
	@tools/docker.sh run tools/compose.sh down
	@tools/docker.sh stop

.PHONY: compose-test
compose-test: compose-up ## the journeys against what `make compose-up` started
	@cd test && ARMLET_ENDPOINTS="$(CURDIR)/data/compose/endpoints.json" ARMLET_TLS_CA="$(CURDIR)/data/compose/ca.pem" \
		go test -count=1 -run '$(ON_ANY_SUITE)' ./journey

.PHONY: build
build: ## build bin/armlet, the all-in-one program and command line
	@mkdir -p bin
	cd cmd/armlet && go build -o ../../bin/armlet .

##@ Verify

.PHONY: test
test: ## run every test with the race detector; a skipped test is a failure
	@tools/testdeps.sh
	@tools/test.sh $(MODULES)

.PHONY: check
check: check-fmt check-proto check-gen check-modules check-arch lint check-vuln ## everything that can be said without running the suite
	@echo "== check: all good"

.PHONY: lint
lint: $(call tool,golangci-lint) ## golangci-lint over every module
	@for m in $(MODULES); do \
		echo "== lint $$m"; \
		(cd $$m && "$(CURDIR)/$(TOOLS)/golangci-lint" run --allow-parallel-runners --config "$(CURDIR)/.golangci.yml" ./...) || bad=1; \
	done; test -z "$$bad"

.PHONY: check-fmt
check-fmt: ## every Go file is formatted
	@echo "== formatting"
	@out=$$(gofmt -s -l $(MODULES)); test -z "$$out" || { echo "$$out"; echo "not formatted: run make fmt"; exit 1; }

.PHONY: check-proto
check-proto: $(call tool,buf) ## the contract is formatted, follows its rules and breaks no release
	@tools/protodeps.sh
	@echo "== buf format"
	@$(BUF) format $(PROTO) --diff --exit-code
	@echo "== buf lint"
	@$(BUF) lint
	@echo "== buf breaking"
	@PATH="$(CURDIR)/$(TOOLS):$$PATH" tools/breaking.sh

.PHONY: check-gen
check-gen: $(GENERATORS) ## the generated code and the catalogue of events are what the contract generates
	@tools/protodeps.sh
	@echo "== generated code"
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && $(BUF) generate -o "$$tmp" && \
		{ diff -r "$$tmp/proto/gen" proto/gen || { echo "proto/gen is not what proto/armlet generates: run make gen"; exit 1; }; } && \
		mkdir "$$tmp/docs" && cp docs/events.md "$$tmp/docs" && $(BUF) build -o "$$tmp/contract.binpb" && \
		(cd tools && go run ./eventdocs "$$tmp/contract.binpb" "$$tmp/docs") && \
		for f in events.md asyncapi.yaml events; do diff -r "$$tmp/docs/$$f" "docs/$$f" || bad=1; done; \
		test -z "$$bad" || { echo "docs does not have the events that proto/armlet has: run make gen"; exit 1; }

.PHONY: check-modules
check-modules: ## every module builds, vets and is tidy on its own, without the workspace
	@for m in $(MODULES); do \
		echo "== build, vet and tidy $$m"; \
		(cd $$m && go build ./... && go vet ./... && go mod tidy -diff) || bad=1; \
	done; test -z "$$bad"

.PHONY: check-arch
check-arch: ## the tree follows the rules of ARCHITECTURE.md
	@echo "== architecture"
	@cd tools && go test -count=1 ./archtest

.PHONY: check-vuln
check-vuln: $(call tool,govulncheck) ## no known vulnerability is reachable, where the database can be had
	@PATH="$(CURDIR)/$(TOOLS):$$PATH" tools/vuln.sh $(MODULES)

.PHONY: fuzz
fuzz: ## run every fuzzer for FUZZTIME each (60s), or those that FUZZ matches
	@tools/fuzz.sh $(MODULES)

.PHONY: chaos
chaos: ## break every part and every link of a running suite under taps, and print what that cost; some four minutes
	@tools/testdeps.sh
	@cd test && ARMLET_CHAOS=1 PATH="$$(../tools/testdeps.sh --postgres):$$PATH" go test -count=1 -timeout 20m -v ./chaos/...

RESULTS := test/bench/out/results.json

.PHONY: bench
bench: ## run every benchmark, print their figures as a table and leave them in test/bench/out/results.json
	@tools/testdeps.sh
	@rm -f $(RESULTS)
	@export BENCH_RESULTS="$(CURDIR)/$(RESULTS)" PATH="$$(tools/testdeps.sh --postgres):$$PATH"; \
		for m in $(MODULES); do \
			(cd $$m && go test -run '^$$' -bench . -benchmem \
				$$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)) || bad=1; \
		done; \
		(cd tools && go run ./benchtable "../$(RESULTS)") && test -z "$$bad"

##@ Change

.PHONY: gen
gen: $(GENERATORS) ## generate proto/gen and the catalogue of events from proto/armlet, and the dashboards
	@tools/protodeps.sh
	@rm -rf bin/gen && $(BUF) generate -o bin/gen
	@rm -rf proto/gen && mv bin/gen/proto/gen proto/gen
	@$(BUF) build -o bin/gen/contract.binpb && (cd tools && go run ./eventdocs ../bin/gen/contract.binpb ../docs)
	@rm -rf bin/gen
	@cd tools && go run ./dashboards ../deploy/grafana/dashboards

.PHONY: fmt
fmt: $(call tool,buf) ## format the Go code and the contract
	@tools/protodeps.sh
	gofmt -s -w $(MODULES)
	$(BUF) format $(PROTO) -w

.PHONY: tidy
tidy: ## tidy every module
	@for m in $(MODULES); do (cd $$m && go mod tidy) || exit 1; done

.PHONY: clean
clean: ## remove what was built; ./data stays
	rm -rf bin

$(TOOLS)/.buf.%:                PACKAGE = github.com/bufbuild/buf/cmd/buf
$(TOOLS)/.protoc-gen-go.%:      PACKAGE = google.golang.org/protobuf/cmd/protoc-gen-go
$(TOOLS)/.protoc-gen-go-grpc.%: PACKAGE = google.golang.org/grpc/cmd/protoc-gen-go-grpc
$(TOOLS)/.golangci-lint.%:      PACKAGE = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/.govulncheck.%:        PACKAGE = golang.org/x/vuln/cmd/govulncheck

$(TOOLS)/.%.$(TOOL_KEY):
	@mkdir -p $(TOOLS)
	@rm -f $(TOOLS)/.$*.*
	@echo "== compiling $* (once for each tools/go.sum and Go version)"
	@cd tools && go build -o ../$(TOOLS)/ $(PACKAGE)
	@touch $@
