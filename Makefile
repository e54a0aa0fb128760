# Two commands matter: `make demo` and `make test`. Each does all its own set-up in .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
# A test run starts a hundred processes: what one has compiled, the others need not.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help venv demo ground rest test coverage test-lowest bench lint types format soak docs dist clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group dev
	touch $(STAMP)

venv: $(STAMP)  ## install the package (editable, all extras) and the development tools in .venv

demo: venv  ## 200 users registered and authenticated against a sandbox on loopback
	$(BIN)/smile-async demo

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	nice -n 5 $(BIN)/mypy

format: venv  ## let ruff format the tree
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The official JavaScript SDK, for the tests that drive it; without npm they are skipped.
.node-sdk/.ready:
	mkdir -p $(@D)
	npm install --silent --ignore-scripts --no-audit --no-fund --no-save --prefix $(@D) smile-identity-core@3.2.1
	touch $@

# The official Python SDK of V3, for the tests that drive it, in a venv of its own.
.venv-v3-sdk/.ready:
	$(PYTHON) -m venv .venv-v3-sdk
	.venv-v3-sdk/bin/python -m pip install --quiet --disable-pip-version-check usesmileid==12.1.0
	touch $@

SDKS := .venv-v3-sdk/.ready $(if $(shell command -v npm),.node-sdk/.ready)
# Two more processes than cores: some wait for sockets and timers; a slow file is shared out.
PYTEST := -m pytest -n 4 --dist worksteal

# They wait for nothing, and take what the rest, which does, leaves of the machine.
ground: venv  ## the tests of the pure files, with branch coverage, of which they must have 100 %
	$(BIN)/coverage erase
	nice -n 5 $(BIN)/coverage run -m pytest -n 2 --dist worksteal @tests/ground.txt
	$(BIN)/coverage combine --quiet
	$(BIN)/python tests/ground_coverage.py

# A first look at them compiles their assertions once, which each process would do for itself.
REST := $(addprefix --ignore=,$(shell cat tests/ground.txt))
rest: venv $(SDKS)  ## all other tests
	-@$(BIN)/python -m pytest --collect-only $(REST) >/dev/null
	$(BIN)/python $(PYTEST) $(REST)

test: lint $(SDKS)  ## lint, types, and all tests
	$(MAKE) --no-print-directory --jobs=3 types ground rest

coverage: venv $(SDKS)  ## all tests with branch coverage, which must be 95 %
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

# uv, which can resolve downwards, stands in a venv of its own, apart from what it installs.
.venv-uv/.ready:
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	touch $@

.venv-lowest/.ready: pyproject.toml .venv-uv/.ready
	.venv-uv/bin/uv venv --quiet --clear --python $(PYTHON) .venv-lowest
	VIRTUAL_ENV=.venv-lowest .venv-uv/bin/uv pip install --quiet --resolution lowest-direct \
		--editable '.[all]' --group dev
	touch $@

# Old releases warn of what newer ones below them will drop, which is no fault of ours.
test-lowest: .venv-lowest/.ready  ## a handful of stories with the lowest version that is declared of every dependency
	PYTHONWARNINGS=default::DeprecationWarning .venv-lowest/bin/python -m pytest \
		-W default::DeprecationWarning --disable-warnings @tests/stories.txt

# A venv of its own: other packages can swap the urllib3 the official SDK runs on.
.venv-sdk/.ready:
	$(PYTHON) -m venv .venv-sdk
	.venv-sdk/bin/python -m pip install --quiet --disable-pip-version-check smile-id-core==3.0.1
	touch $@

bench: venv .venv-sdk/.ready .venv-v3-sdk/.ready  ## all benchmarks (about an hour); BENCH='throughput --quick' for less
	$(BIN)/python benchmarks/run.py $(BENCH)

soak: venv  ## an hour: mixed faults, 10,000 cancels, 100,000 fuzzed replies, 206 kills, real gateways, 3,000 simulated worlds and a week
	$(BIN)/python -m pytest --hypothesis-profile=soak @tests/ground.txt
	$(BIN)/python tests/soak.py
	$(BIN)/python tests/soak_batches.py
	$(BIN)/python tests/soak_gateways.py
	PYTHONPATH=tests $(BIN)/python -m simulator --seeds 2000 --processes 2 --postgres 200 --week 100000
	PYTHONPATH=tests $(BIN)/python -m simulator --api v3 --seeds 1000 --processes 2

docs: venv  ## the README and all guides as a site in site/, made without a network; a dead link or a warning fails
	$(BIN)/python docs/build_site.py site

# In a venv of their own: other packages can swap what the library runs on.
.venv-dist/.ready:
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --disable-pip-version-check 'build>=1.2' 'twine>=6.1'
	touch $@

dist: venv .venv-dist/.ready  ## sdist and wheel in dist/, checked, and tried in empty environments: bare, and each extra alone
	rm -rf dist
	.venv-dist/bin/python -m build --outdir dist . > .venv-dist/build.log 2>&1 || { cat .venv-dist/build.log; exit 1; }
	.venv-dist/bin/python -m twine check --strict dist/*
	$(BIN)/python tests/try_dist.py dist

clean:  ## forget everything that was made here
	rm -rf .venv .node-sdk .venv-sdk .venv-v3-sdk .venv-dist .venv-uv .venv-lowest dist site .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
