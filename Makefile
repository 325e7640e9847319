# `make demo` and `make test` start from a bare clone: they make .venv, build and install what they need.
# PYTHON picks the interpreter (3.11 or newer) that makes the environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Sources whose change means that the extension has to be built again.
RUST := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml pyproject.toml
# A failing command in a pipe fails the target.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
export PIP_DISABLE_PIP_VERSION_CHECK = 1
unexport VIRTUAL_ENV

.PHONY: help demo test check rust-test rust-lint python-test python-lint bench clean

help:
	@echo "make demo   raw text to a trained and sampled GPT-2, in minutes"
	@echo "make test   everything that CI runs: Rust and Python tests, lints, types, stubs"
	@echo "make bench  the benchmark suite"
	@echo "make check  the lints alone"
	@echo "make clean  remove what the other targets made (not .venv)"

$(BIN)/python:
	$(PYTHON) -c 'import sys; v = sys.version.split()[0]; assert sys.version_info >= (3, 11), f"Python {v} is too old (3.11 or newer is needed)"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# One stamp per extra: the package itself is installed in editable form, so Python files need no re-install.
$(VENV)/.train: $(BIN)/python $(RUST)
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	@touch $@

$(VENV)/.test: $(BIN)/python $(RUST)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.train

$(VENV)/.bench: $(BIN)/python $(RUST)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

demo: $(VENV)/.train
	$(BIN)/gristmill demo $(DEMO)

bench: $(VENV)/.bench
	$(BIN)/python benches/packing_speed.py $(BENCH)

check: rust-lint python-lint

test: rust-lint rust-test python-lint python-test
	@echo "make test: all passed"

rust-lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# The sum over all test binaries is printed; an ignored test counts as skipped and fails the target.
rust-test:
	@mkdir -p target
	cargo test --workspace --locked 2>&1 | tee target/rust-test.log
	@awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	  END { printf "Rust tests: %d passed, %d failed, %d ignored\n", passed, failed, ignored; \
	        exit !(passed > 0 && failed == 0 && ignored == 0) }' target/rust-test.log

python-lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest gristmill._native

# Two processes share the test files (tests/sharing.py says which stay together). A skip that
# tests/allowed_skips.txt does not list is a failure (tests/skip_policy.py).
python-test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(PYTEST)

clean:
	rm -rf target dist gristmill-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
