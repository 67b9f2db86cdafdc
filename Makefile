# swift-vqa. `make` lists the targets. LIBTORCH=/path uses an existing libtorch: see Tools/setup/setup.sh.

.DEFAULT_GOAL := help
.PHONY: help setup build demo test bench format lint clean

sources := Package.swift Sources Tests

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile | expand -t 16

setup: ## fetch what building and testing need (into .deps)
	@Tools/setup/setup.sh

build: setup ## the release build: .build/release/vqa
	swift build -c release --product vqa

demo: build ## train the small example and say how to ask it a question
	.build/release/vqa train Examples/easy-vqa-dvp-bert.yaml

# The tests need no @testable import, so they share the release build.
test: setup ## all tests; only some of them: make test FILTER=Tokenizers
	swift test -c release --no-parallel --disable-xctest --disable-testable-imports $(if $(FILTER),--filter '$(FILTER)')

bench: build ## our figures beside the peers' on this machine
	Tools/bench/run.sh

format: ## lay out the Swift sources
	swift format format --in-place --recursive --configuration .swift-format $(sources)

lint: ## check the layout and rules of the Swift sources
	swift format lint --strict --recursive --configuration .swift-format $(sources)

clean: ## remove the build; what setup fetched stays in .deps
	rm -rf .build
