# One target an intent; `make help` lists them. Works with GNU Make 3.81 and later.
# `make figures` and `make test` need only Python 3.11 or later and a package index; the rest follows from them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Python to build the environment with; python3 is tried when this one is missing.
PYTHON ?= python3.11
# Jobs that may run at the same time. Every job computes with one thread.
CORES ?= all
# More arguments for snakemake and pytest, for instance `make test PYTEST_ARGS="-k twist"`.
SNAKEMAKE_ARGS ?=
PYTEST_ARGS ?=
# For instance --install, or --config tests/configs/smoke.yaml.
SLURM_TEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Peers to compare with are heavy and never needed for the figures: they get an environment of their own.
PEERS := .venv-peers
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
# Files of one test module stay in one process, because they share a workflow run.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile
SMOKE_CONFIG := tests/configs/smoke.yaml
REPORT := results/report.html

# Resolve the rest of the lock around these: they decide what is stale and what the numbers are.
# Later releases of soupsieve need Python 3.11.5, which Debian 12 does not have.
LOCK_PINS := torch==2.13.0 soupsieve==2.10 snakemake==9.27.1 snakemake-executor-plugin-slurm==2.8.0

# The workflow's rules say `python`: it has to be the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Cores are used by jobs; threads of a library would only compete with them.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^#### / { sub(/^#### /, ""); printf "\n%s\n", $$0 } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables: CORES=%s PYTHON=%s SNAKEMAKE_ARGS= PYTEST_ARGS=\n' '$(CORES)' '$(PYTHON)'

#### Use

.PHONY: env
env: $(VENV)/project.stamp ## create .venv with the versions of requirements.lock

# One line for each package that pip collects: overwritten on a terminal, every 20th in a log.
COUNT_PACKAGES = awk -v all="$$(grep -c == requirements.lock)" -v terminal="$$([ -t 1 ] && echo 1)" ' \
	/^(Collecting|Processing)/ { n++; line = sprintf("environment: package %d of %d, %s", n, all, $$2); \
		if (terminal) { printf "\r\033[K%s", line } else if (n % 20 == 0) { print line }; fflush() } \
	/^Installing/ { if (terminal) { printf "\r\033[K" }; print "environment: unpacking " n " packages"; fflush() }'

# An environment without this stamp comes from an interrupted install and is built anew; pip's cache keeps that short.
# A lock that was only touched (checkout, rebase) is the same lock. The Python to build with is looked for outside of
# the environment, which is about to be deleted.
$(VENV)/lock.stamp: requirements.lock
	@if [ -x $(BIN)/python ] && cmp -s requirements.lock $@; then touch $@; exit 0; fi; \
	PATH=$$(printf %s "$$PATH" | tr ':' '\n' | grep -vxF "$(CURDIR)/$(BIN)" | paste -sd: -); \
	for python in $(PYTHON) python3; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "error: cdgm needs Python 3.11 or later; neither $(PYTHON) nor python3 is one. Use: make PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi; \
	echo "environment: $$("$$found" --version) -> $(VENV), 2 GB, some minutes"; \
	rm -rf $(VENV) && \
	{ "$$found" -m venv $(VENV) || { echo "error: $$found cannot make virtual environments (on Debian: install python3-venv)" >&2; exit 1; }; } && \
	set -o pipefail && \
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -r requirements.lock | $(COUNT_PACKAGES) && \
	cp requirements.lock $@

$(VENV)/project.stamp: $(VENV)/lock.stamp pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . && touch $@
	@echo "environment: ready, activate it with: . $(BIN)/activate"

.PHONY: smoke
smoke: env ## the whole workflow on tiny settings, in .smoke
	@mkdir -p .smoke
	$(SNAKEMAKE) all --directory .smoke --configfile $(SMOKE_CONFIG) $(SNAKEMAKE_ARGS)

.PHONY: figures
figures: env ## every figure, table and verdict (results/index.html), then the report
	$(SNAKEMAKE) all $(SNAKEMAKE_ARGS)
	$(BIN)/snakemake --report $(REPORT)

.PHONY: report
report: env ## one HTML file with the figures and their captions, from what is computed
	@[ -d results/figures ] || { echo "error: results/figures is missing: run 'make figures' first" >&2; exit 1; }
	$(BIN)/snakemake --report $(REPORT)

.PHONY: docs
docs: env ## the guide as pages that need no network (build/docs/index.html)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -d build/doctrees docs build/docs
	@echo build/docs/index.html

#### Reproduce

.PHONY: claims
claims: env ## the verdicts on all claims, and what they need (results/claims.html)
	$(SNAKEMAKE) results/claims.html $(SNAKEMAKE_ARGS)

.PHONY: perturbseq
perturbseq: env ## the figures on CRISPR knock-outs (downloads one public file)
	$(SNAKEMAKE) perturbseq $(SNAKEMAKE_ARGS)

.PHONY: scaling
scaling: env ## recovery, time and memory as features, latents and points grow
	$(SNAKEMAKE) scaling $(SNAKEMAKE_ARGS)

.PHONY: beyond
beyond: env ## what goes beyond the paper: schedules of KL terms (tells its cost first)
	$(SNAKEMAKE) beyond $(SNAKEMAKE_ARGS)

.PHONY: atlas
atlas: env ## the figures on two large screens (downloads 2.2 GB)
	$(SNAKEMAKE) atlas $(SNAKEMAKE_ARGS)

.PHONY: dag
dag: env ## draw how the rules depend on each other
	@mkdir -p results
	@if command -v dot >/dev/null; then \
		$(BIN)/snakemake --rulegraph dot all > results/rulegraph.dot && \
		dot -Tsvg results/rulegraph.dot -o results/rulegraph.svg && \
		dot -Tpng results/rulegraph.dot -o results/rulegraph.png && \
		echo "results/rulegraph.svg results/rulegraph.png"; \
	else \
		$(BIN)/snakemake --rulegraph mermaid-js all > results/rulegraph.mmd && \
		echo "results/rulegraph.mmd (Mermaid text; install graphviz for a picture)"; \
	fi

#### Develop

.PHONY: test
test: env ## unit, workflow and short end-to-end tests, the files that take longest first
	$(PYTEST) --no-loadscope-reorder -m "not soak and not network" tests/e2e tests/workflow tests/generated tests/unit $(PYTEST_ARGS)

.PHONY: soak
soak: env ## the long tests: a run killed fifty times, thousands of generated inputs, and others (an hour and more)
	$(BIN)/python -m pytest -m soak tests $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/generated --hypothesis-profile many --hypothesis-seed "$${CDGM_TEST_SEED:-1}" $(PYTEST_ARGS)

.PHONY: slurm-test
slurm-test: env ## the workflow through a real Slurm of one node (root; skipped where that can't be had)
	$(BIN)/python -m tests.slurm.run $(SLURM_TEST_ARGS)

.PHONY: lint
lint: env ## ruff, snakefmt, Snakemake's own lint, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/basedpyright --pythonpath $(BIN)/python --level error

.PHONY: lock
lock: ## resolve requirements.lock anew, in an empty environment
	@rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	@.lock-venv/bin/python -m pip install --quiet --disable-pip-version-check '.[workflow,test,dev,docs,slurm]' $(LOCK_PINS)
	@{ sed -n '/^#/!q;p' requirements.lock; \
	   .lock-venv/bin/python -m pip freeze --all --exclude pip --exclude wheel --exclude cdgm \
	   | sed 's/+[a-z0-9.]*$$//' | grep -viE '^(nvidia|cuda|triton)'; } > .lock-venv/new
	@mv .lock-venv/new requirements.lock && rm -rf .lock-venv build && git diff --stat requirements.lock

.PHONY: lock-peers
lock-peers: env ## resolve requirements-peers.lock anew, on top of requirements.lock
	@rm -rf .lock-venv && $(BIN)/python -m venv .lock-venv
	@.lock-venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock '.[peers]'
	@{ sed -n '/^#/!q;p' requirements-peers.lock; \
	   .lock-venv/bin/python -m pip freeze --all --exclude pip --exclude wheel --exclude cdgm \
	   | sed 's/+[a-z0-9.]*$$//' | grep -viE '^(nvidia|cuda|triton)' | grep -vxFf requirements.lock; } > .lock-venv/new
	@mv .lock-venv/new requirements-peers.lock && rm -rf .lock-venv build && git diff --stat requirements-peers.lock

.PHONY: docs-images
docs-images: env ## the guide's pictures, from real runs of some minutes (docs/images; one needs Chromium)
	@mkdir -p build/images
	$(SNAKEMAKE) results/figures/identifiability/twist.png --directory build/images $(SNAKEMAKE_ARGS)
	cd build/images && { [ -e immune.h5ad ] || cdgm datasets get immune_spikein --out immune.h5ad; } && cdgm fit immune.h5ad --source-key source \
		--background background --labels-key label --members 2 --max-steps 1500 --out fit --overwrite
	$(BIN)/python docs/figures/images.py build/images docs/images

.PHONY: tutorials
tutorials: env ## run docs/tutorials; writes their outputs and pictures (some minutes; one picture needs Chromium)
	$(BIN)/python -m docs.figures.tutorials build/tutorials docs/tutorials/*.md

#### Benchmarks

.PHONY: bench
bench: env ## throughput of stacked fits, and what objectives and scores cost, with their ratios
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/objectives.py
	$(BIN)/python benchmarks/counts.py
	$(BIN)/python benchmarks/evaluation.py

.PHONY: bench-own-data
bench-own-data: env ## `cdgm fit` with its defaults, alone and beside a busy process
	[ -e .bench-immune.h5ad ] || $(BIN)/cdgm datasets get immune_spikein --out .bench-immune.h5ad
	$(BIN)/python -m benchmarks.own_data .bench-immune.h5ad source background

.PHONY: bench-memory
bench-memory: env ## memory and time against the number of cells, up to 310,000
	$(BIN)/python benchmarks/memory.py

.PHONY: bench-genes
bench-genes: env ## differential expression of known genes: power, false discoveries and the null, beside scanpy's
	$(BIN)/python -m benchmarks.differential_expression

.PHONY: bench-regularisers
bench-regularisers: env ## layer norm, dropout and weight decay on small sets of real cells
	for set in kang2018 papalexi2021 glioblastoma; do \
		[ -e .bench-$$set.h5ad ] || $(BIN)/cdgm datasets get $$set --out .bench-$$set.h5ad || exit 1; done
	$(BIN)/python -m benchmarks.regularisers .bench-kang2018.h5ad .bench-papalexi2021.h5ad .bench-glioblastoma.h5ad --cells 450

.PHONY: bench-choosing
bench-choosing: env ## how often `cdgm choose` picks the true sizes, and what a recommended level does
	$(BIN)/python -m benchmarks.choosing

# Both locks were resolved together, so the peers run on the very torch and numpy of our own environment.
$(PEERS)/lock.stamp: requirements.lock requirements-peers.lock | $(VENV)/lock.stamp
	@if [ -x $(PEERS)/bin/python ] && cat requirements.lock requirements-peers.lock | cmp -s - $@; then touch $@; exit 0; fi; \
	rm -rf $(PEERS) && $(BIN)/python -m venv $(PEERS) && \
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock -r requirements-peers.lock && \
	cat requirements.lock requirements-peers.lock > $@

# Fits of single methods: 400 epochs of scvi-tools' defaults cost as much as 30 of our fits.
FEWER_SEEDS := scvi-default=3 scvi-matched-wasserstein=3 scvi-matched-nb=3
.PHONY: bench-peers
bench-peers: env $(PEERS)/lock.stamp ## our model beside scvi-tools' ContrastiveVI: scores, stability, batches and speed
	$(SNAKEMAKE) $(foreach name,papalexi2021 immune_spikein glioblastoma,results/data/$(name)/cells.npz) $(SNAKEMAKE_ARGS)
	$(PEERS)/bin/python -m benchmarks.peers speed
	[ -e .bench-immune.h5ad ] || $(BIN)/cdgm datasets get immune_spikein --out .bench-immune.h5ad
	$(PEERS)/bin/python -m benchmarks.own_data .bench-immune.h5ad source background
	$(PEERS)/bin/python -m benchmarks.peers scores --seeds 8 --seeds-of $(FEWER_SEEDS)
	$(PEERS)/bin/python -m benchmarks.batches

#### Tidy

.PHONY: clean
clean: ## delete everything computed; keeps .venv
	rm -rf results .smoke .snakemake .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find cdgm workflow_scripts tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: distclean
distclean: clean ## delete the environment too
	rm -rf $(VENV) $(PEERS) .lock-venv
