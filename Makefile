# Two commands matter: `make run` and `make test`. Both install what they need into .venv and .tools first.
.DEFAULT_GOAL := help
.PHONY: help run test e2e test-fast fuzz consistency lint format lock crd reference images test-tools bench-tools bench soak \
	operator-scale kubectl-page mutation clean

PYTHON ?= python3
BIN := .venv/bin
HTTP ?= 127.0.0.1:8470
ADMIN ?= 127.0.0.1:8471
FLIGHTS ?= some
DATA ?= .data/flights
TESTS ?= tests
WORKERS ?= 2
OPS ?= 1000000
SEED ?= 1
STORE ?= dynoxide
SAMPLE ?= 60
MINUTES ?= 20
ENTRIES ?= 1000000
SECONDS ?= 600
IMAGES ?= dist/images
GROUPS ?= 2000
NAMESPACES ?= 200
DEDICATED ?= 20
EDITS_PER_SECOND ?= 50
EDIT_SECONDS ?= 300
CODE := contract operator sidecar ondemand cli tests tools examples e2e
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--python-version 3.11

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start a sidecar with the example data and show some answers (FLIGHTS=all for the whole year, DATA= where rows are kept)
	@$(PYTHON) tools/bootstrap.py run
	@$(BIN)/python -m examples.flights.demo --http $(HTTP) --admin $(ADMIN) --flights $(FLIGHTS) --data $(DATA)

test: test-tools lint ## Check and test everything (WORKERS=2, TESTS=tests)
	@$(BIN)/python -m pytest $(TESTS) -n $(WORKERS) --dist worksteal
	@$(BIN)/python -m e2e --control-plane

e2e: ## Journeys in a cluster of one real node, which it starts (as root), or in that of KUBECONFIG (JOURNEYS=)
	@$(PYTHON) tools/bootstrap.py e2e
	@$(BIN)/python -m e2e $(JOURNEYS)

test-fast: ## Run the tests that need no server
	@$(PYTHON) tools/bootstrap.py check
	@$(BIN)/python -m pytest tests -m "not redis and not dynamodb and not slow" --ignore tests/integration -q

fuzz: ## Try the laws on examples that nobody has seen yet
	@$(PYTHON) tools/bootstrap.py check
	@$(BIN)/python -m pytest tests -m "not redis and not dynamodb and not slow" --ignore tests/integration -q \
		-n $(WORKERS) --hypothesis-profile new-every-time

consistency: test-tools ## Check a million operations under faults (OPS=1000000, SEED=1, STORE=dynoxide|dynamodb-local)
	@$(BIN)/python -m tests.consistency --operations $(OPS) --seed $(SEED) --store $(STORE)

lint: ## Ruff, mypy and the import rules
	@$(PYTHON) tools/bootstrap.py check
	@$(BIN)/ruff check --no-cache $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports

format: ## Let ruff put the code in form
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

lock: ## Write requirements/*.txt anew: every package pinned and hashed
	$(COMPILE) requirements/build.in --output-file requirements/build.txt
	$(COMPILE) requirements/npm.in --output-file requirements/npm.txt
	$(COMPILE) requirements/go.in --output-file requirements/go.txt
	$(COMPILE) requirements/feast.in --output-file requirements/feast.txt
	$(COMPILE) requirements/mutation.in --output-file requirements/mutation.txt
	$(COMPILE) pyproject.toml requirements/test.in --extra sidecar --extra operator --extra examples --constraints requirements/build.txt \
		--output-file requirements/test.txt
	$(COMPILE) pyproject.toml --extra sidecar --extra examples --constraints requirements/test.txt \
		--output-file requirements/run.txt
	$(COMPILE) pyproject.toml --extra sidecar --constraints requirements/test.txt \
		--output-file requirements/image-sidecar.txt
	$(COMPILE) pyproject.toml --extra sidecar --extra operator --constraints requirements/test.txt \
		--output-file requirements/image-operator.txt

images: ## Build the images of sidecar and operator without a registry, as OCI archives (IMAGES=dist/images)
	@$(PYTHON) tools/bootstrap.py check
	@$(BIN)/python tools/image_build.py --output $(IMAGES)

crd: ## Write crds/, and the chart's copy, anew from the contract
	@$(BIN)/pannier crd > crds/featuregroups.pannier.dev.yaml
	@cp crds/featuregroups.pannier.dev.yaml charts/pannier/files/

reference: crd ## Write the generated parts of docs/reference anew
	@$(BIN)/python tools/reference_pages.py

kubectl-page: test-tools ## Write the outputs in docs/operations/kubectl.md anew
	@$(BIN)/python -m pytest tests/integration/test_kubectl_page.py --write-pages -q

test-tools: ## Install what the tests need
	@$(PYTHON) tools/bootstrap.py test

bench-tools: ## Install what the benchmarks need
	@$(PYTHON) tools/bootstrap.py bench

bench: bench-tools ## Measure the sidecar against bare aiohttp
	@$(BIN)/pannier bench

soak: test-tools ## Ten minutes with a million entries: flat memory, no stall over 20 ms (ENTRIES=, SECONDS=)
	@$(BIN)/python tools/soak.py --entries $(ENTRIES) --seconds $(SECONDS)

operator-scale: test-tools ## 2,000 FeatureGroups in 200 namespaces, edited at 50/s (GROUPS=, NAMESPACES=, DEDICATED=, EDIT_SECONDS=)
	@$(BIN)/python -m tests.scale --groups $(GROUPS) --namespaces $(NAMESPACES) --dedicated $(DEDICATED) \
		--edits-per-second $(EDITS_PER_SECOND) --seconds $(EDIT_SECONDS)

mutation: ## Change the pure modules and see whether the tests notice (SAMPLE=60 SEED=1 MINUTES=20)
	@$(PYTHON) tools/bootstrap.py mutation
	@$(BIN)/python tools/mutation.py --sample $(SAMPLE) --seed $(SEED) --minutes $(MINUTES)

clean: ## Remove .venv, .tools, .data and caches
	rm -rf .venv .tools .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
