PYTHON ?= python3
BIN = .venv/bin
# Files of few tests take as long as those of many: they are left in their order.
FILES = --dist loadfile --no-loadscope-reorder
PARALLEL = -q -n 2 $(FILES)
# Three on two processors: for half of their time they wait for Postgres, Redis or a clock.
FAST = -q -n 3 $(FILES) -m "not long and not deploy and not cluster"

# One file for every platform and Python; pins change only where an input asks for it.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make pins"
AUDIT = $(BIN)/pip-audit --progress-spinner off --disable-pip

.PHONY: help run test coverage test-long test-deploy test-cluster test-cluster-long test-install test-containers soak reliability lint audit pins openapi digests picture fuzz bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 19

run: .venv/installed ## Serve at http://localhost:8000 (PORT=8001 changes it)
	@exec $(BIN)/python app.py

test: .venv/installed ## Run the suite on embedded servers
	@exec $(BIN)/pytest $(FAST)

coverage: .venv/installed ## Run the same tests, and fail below 95 percent of lines and branches
	@exec $(BIN)/pytest $(FAST) --cov=books_api --cov-branch --cov-report=term-missing:skip-covered \
		--cov-fail-under=95

test-long: .venv/installed ## Run what takes long: 100,000 books, faults, a browser, generated clients
	@exec $(BIN)/pytest $(PARALLEL) -m "long and not cluster"

test-deploy: .venv/installed ## Run the deployment as shipped: nginx, gunicorn, the deployment page
	@exec $(BIN)/pytest $(PARALLEL) -m deploy tests/deploy

test-cluster: .venv/installed ## Kill, silence and split machines (network namespaces; needs root and Debian's packages)
	@exec $(BIN)/pytest -q -m "cluster and not long" tests/cluster

test-cluster-long: .venv/installed ## Freeze and part machines, upgrade them in turn, fail over under exports and PgBouncer (the same needs)
	@exec $(BIN)/pytest -q -m "cluster and long" tests/cluster

test-install: .venv/installed ## Follow docs/deployment.md on an empty Debian (as root; SUITE=trixie changes it)
	@exec $(BIN)/pytest -q --durations=12 tests/deploy/install.py

test-containers: .venv/installed ## Build the image and run it (as root, with buildah and podman)
	@exec $(BIN)/pytest -q --durations=5 tests/deploy/containers.py

soak: .venv/installed ## Load it for 3 minutes (MINUTES=30 changes it): nothing may grow
	@exec $(BIN)/pytest -s -q tests/deploy/faults/soak.py

reliability: .venv/installed ## Write what faults and soaks of 3 and 30 minutes did to docs/reliability.md
	REPORT=1 $(BIN)/pytest -q tests/deploy/faults
	REPORT=1 $(BIN)/pytest -q tests/cluster
	REPORT=1 MINUTES=3 $(BIN)/pytest -q tests/deploy/faults/soak.py
	REPORT=1 MINUTES=30 $(BIN)/pytest -q tests/deploy/faults/soak.py

lint: .venv/installed ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: .venv/installed ## Look for known vulnerabilities in the pins, and for risky code
	@# An index without advisories finds nothing in a release that is known to be vulnerable, either.
	@if echo jinja2==2.10 | $(AUDIT) --no-deps -r /dev/stdin 2>&1 | grep -q "^Found"; \
	then $(AUDIT) --strict -r requirements.txt; \
	else echo "No advisories can be had from this package index: the pins were not audited."; fi
	$(BIN)/ruff check --select S books_api development app.py wsgi.py deploy

pins: .venv/installed ## Compile requirements*.txt from requirements*.in (UPGRADE=--upgrade takes new releases)
	$(COMPILE) $(UPGRADE) requirements.in -o requirements.txt
	$(COMPILE) $(UPGRADE) requirements-dev.in -c requirements.txt -o requirements-dev.txt

openapi: .venv/installed ## Rewrite tests/data/openapi.json from the code
	$(BIN)/python -m tests.write_openapi

digests: ## Note the digests of new migrations, which are never edited from then on
	cd migrations && LC_ALL=C sha256sum sql/*.sql versions/*.py > ../tests/data/migrations.sha256

picture: ## Draw docs/architecture.svg from docs/architecture.dot (it needs graphviz)
	dot -Tsvg docs/architecture.dot -o docs/architecture.svg

fuzz: .venv/installed ## Send 10,000 random requests (CASES=500 changes it) and check the answers
	@exec $(BIN)/pytest -s -q tests/contract/fuzz.py

bench: .venv/installed ## Measure speed and memory, and write docs/performance.md (takes a quarter of an hour)
	@exec $(BIN)/python -m benchmarks --write

clean: ## Remove the virtual environment (the data in instance/ stays)
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis .coverage

.venv/installed: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("Python 3.11 or later is needed: make PYTHON=...")'
	@echo "Installing the packages of requirements-dev.txt into .venv: about a minute, once."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
