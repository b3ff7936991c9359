# `make run` opens the shop, `make test` tests it. Both make .venv themselves, from locks with hashes.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What `make bench` runs, in this order; and what is measured on its own.
COMPARED := $(addprefix bench-,produce consume end-to-end latency catalog backfill growth)
BENCHES := $(COMPARED) $(addprefix bench-,audit simulate takeover recovery year browsers formats datastore versions)
.PHONY: help run quick test test-all chaos fuzz check bench $(BENCHES) format reference lock wheels clean environment environment-dev

# The first of these that is Python 3.11 or newer makes .venv.
PYTHONS := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11

UV_COMPILE = .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(ARGS)

# Where Python may not write bytecode, each of the hundreds of processes of the tests compiles the package for itself.
PYTEST = env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest

# What `make wheels` asks for. faust-streaming has no wheel for Linux on ARM: pip makes one there, without a compiler too.
PLATFORMS := x86_64-manylinux_2_28 aarch64-manylinux_2_28 x86_64-apple-darwin aarch64-apple-darwin
UV_INSTALL = .venv/bin/uv pip install --no-config --quiet --dry-run --target .venv/elsewhere --require-hashes \
	--only-binary :all: --no-binary faust-streaming -r requirements.lock

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

run: environment ## start a worker, and an Apache Kafka if none is configured
	@exec .venv/bin/yasdg worker -l info $(ARGS)

quick: environment-dev ## run what needs no Kafka and takes no second, in a minute; ARGS="-k shelf" goes to pytest
	@exec $(PYTEST) --hypothesis-profile=quick --numprocesses=logical -m "not needs_kafka and not needs_machine and not slow" $(ARGS)

test: environment-dev ## run the main tests, Apache Kafka included; they need nothing but Python and the network
	@exec $(PYTEST) --hypothesis-profile=usual -m "not needs_machine and not extended and not variant" $(ARGS)

test-all: environment-dev ## run everything, with browser, databases, JDK, Go and containers: tests/support/suites.py
	@exec $(PYTEST) $(ARGS)

chaos: environment-dev ## kill, freeze and restart workers and broker, then audit; ARGS="--help" shows how
	@exec .venv/bin/python tests/chaos.py $(ARGS)

fuzz: environment-dev ## append hostile records to every topic while workers sell; ARGS="--records 20000 --seconds 60"
	@exec .venv/bin/python tests/fuzz.py $(ARGS)

bench: environment-dev ## compare with other programs, half an hour; one alone: make bench-produce, see benchmarks/
	@status=0; for bench in $(COMPARED); do \
		echo "--- $$bench"; $(MAKE) $$bench || status=1; \
	done; exit $$status

$(BENCHES): environment-dev
	@PYTHONPATH=tests exec .venv/bin/python benchmarks/$(subst -,_,$(@:bench-%=%)).py $(ARGS)

check: environment-dev ## lint, formatting, types, import directions
	@status=0; \
	for check in "ruff check" "ruff format --check" mypy "lint-imports --no-logo"; do \
		echo "--- $$check"; .venv/bin/$$check || status=1; \
	done; exit $$status

format: environment-dev ## format the code, and fix what ruff can fix
	@.venv/bin/ruff check --fix-only --quiet && .venv/bin/ruff format

reference: environment-dev ## write docs/reference/ and the pictures of the architecture from the code
	@PYTHONPATH=. .venv/bin/python docs/reference/generate.py && .venv/bin/python docs/pictures/architecture.py

lock: environment-dev ## write the lock files after a change of pyproject.toml; ARGS=--upgrade for newer versions
	@$(UV_COMPILE) --group build --output-file requirements.lock
	@$(UV_COMPILE) --group dev --constraints requirements.lock --output-file requirements-dev.lock

wheels: environment-dev ## ask the index whether the lock can be installed elsewhere: each Python, processor and system
	@status=0; \
	for python in 3.11 3.12 3.13 3.14; do for platform in $(PLATFORMS); do \
		if $(UV_INSTALL) --python-version $$python --python-platform $$platform; then answer=yes; else answer=no; status=1; fi; \
		echo "Python $$python, $$platform: $$answer"; \
	done; done; exit $$status

clean: ## remove .venv and what tools left behind; the shop's data in .yasdg stays
	@rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- .venv ---

environment: ; @bash -c "$$INSTALL" install requirements.lock
environment-dev: ; @bash -c "$$INSTALL" install requirements-dev.lock

# .venv/installed-<lock> is a copy of all that an installation was made from: it is up to date while they are equal.
# .venv/unfinished is there while pip works: whoever finds it begins anew. requirements-dev.lock has all of
# requirements.lock in it, so after `make test` there is nothing to install for `make run`.
define INSTALL
set -euo pipefail
lock=$$1

# Two at once would write over each other. (macOS has no flock; there, do not.)
if command -v flock >/dev/null; then
    exec 9<.
    flock -n 9 || { echo "Waiting for another make to finish with .venv ..." >&2; flock 9; }
fi

made_from() { cat "$$1" pyproject.toml; pwd; .venv/bin/python -c 'import sys; print(sys.version)'; }
up_to_date() { made_from "$$lock" 2>/dev/null | cmp -s - ".venv/installed-$$lock"; }
usable() { "$$1" -c "import sys, $$2; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; }

if [ ! -e .venv/unfinished ] && up_to_date; then exit 0; fi

# The scripts in .venv/bin name the folder that they were made in, so they do not work after it was moved.
if [ -e .venv/unfinished ] || ! usable .venv/bin/python pip || ! grep -qsF "$$PWD/.venv/bin/python" .venv/bin/pip; then
    for python in $(PYTHONS) ""; do
        if [ -n "$$python" ] && usable "$$python" "ensurepip, venv"; then break; fi
    done
    if [ -z "$$python" ]; then
        echo "YASDG needs Python 3.11 or newer with its venv module. None of these is one: $(strip $(PYTHONS))." >&2
        echo "Install it (Debian, Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3" >&2
        exit 1
    fi
    rm -rf .venv
    mkdir .venv
    touch .venv/unfinished
    "$$python" -m venv .venv
fi

echo "Installing $$lock into .venv: up to a minute the first time ..." >&2
touch .venv/unfinished
pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check"
$$pip --require-hashes -r "$$lock"
$$pip --no-index --no-deps --no-build-isolation --editable .
made_from "$$lock" >".venv/installed-$$lock"
if [ "$$lock" = requirements-dev.lock ]; then made_from requirements.lock >.venv/installed-requirements.lock; fi
rm .venv/unfinished
endef
export INSTALL
