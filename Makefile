.DEFAULT_GOAL := help
.PHONY: help demo check test coverage packages assets cluster lint bench docs render pictures lock clean

PYTHON ?= python3
# What a node takes to run pods, and to build images for them; without root none can be run.
NODE := containerd runc containernetworking-plugins iptables iproute2 conntrack debootstrap buildah
BIN := .venv/bin
INSTALLED := .venv/.installed
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Compiled once, not by each of the processes that the tests start; containers often set this.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Watch a model being offloaded and taken back, in about 90 s
	@$(BIN)/python -m demo

check: $(INSTALLED) ## Run lint, types, layers and the tests that start no other program, on each Python
	@$(BIN)/python -m tools.lanes check $(PYTEST)

test: $(INSTALLED) ## Run lint, types, layers and every test
	@$(BIN)/python -m tools.lanes test $(PYTEST)

coverage: $(INSTALLED) ## List the lines that no test runs, of the tests that need neither root nor Go
	@$(BIN)/python -m tools.lanes coverage $(PYTEST)

packages: ## Install the Debian packages of the tests, or print the command that does
	@tools/debian prometheus chromium
	@[ "$$(id -u)" != 0 ] || tools/debian $(NODE)

assets: $(INSTALLED) ## Build the Kubernetes for the tests, once, outside the checkout (20 min with cold caches)
	@$(BIN)/python -m tests.kube.assets

cluster: assets ## Run the Kubernetes of the tests to try things on, until Ctrl-C (needs root)
	@tools/debian $(NODE)
	@PYTHONPATH=tests $(BIN)/python -m kube $(CLUSTER)

lint: $(INSTALLED) ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED) ## Run the benchmarks: ratios to peers in the same run
	@tools/debian wrk nginx-light haproxy
	$(BIN)/python -m benchmarks

docs: $(INSTALLED) ## Build the documentation site into build/site, warnings as errors
	@$(BIN)/python -m tools.site

render: $(INSTALLED) ## Render the generated files again: CRD, reference, protocol, golden files
	$(BIN)/python -m tools.render

pictures: $(INSTALLED) ## Take the documentation's screenshots of the page and of top again
	@tools/debian chromium
	@PYTHONPATH=tests TZ=UTC $(BIN)/python -m tools.pictures

lock: $(INSTALLED) ## Resolve the dependencies again and pin them by hash
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements/run.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --extra aws --extra azure --extra google -c requirements/run.txt pyproject.toml -o requirements/clouds.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --group build -o requirements/build.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --group build --group dev --group demo pyproject.toml -o requirements/dev.txt

clean: ## Remove everything that make has created here
	rm -rf build .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* .lanes demo-run

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tools/debian python3-venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
