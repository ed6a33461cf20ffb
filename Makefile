# Every target makes what it needs; the second time it is quick.
# Another Python, as in `make test PYTHON=python3.12`, has its own environment: .venv-python3.12.
ifdef PYTHON
VENV := .venv-$(notdir $(PYTHON))
else
PYTHON := $(shell command -v python3.11 || command -v python3)
VENV := .venv
endif
export VENV
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv
UV_THERE := $(VENV)/.uv
READY := $(VENV)/.ready
HOME_OF_DEMO := build/demo

.DEFAULT_GOAL := help
.PHONY: help demo ui check docs test test-services wheel bench soak fuzz train proto lock format clean

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV_THERE):
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import uv' 2>/dev/null || $(BIN)/python -m pip install --quiet uv
	@touch $(UV_THERE)

$(READY): $(UV_THERE) requirements/dev.txt pyproject.toml
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)  ## Run the whole chain on simulated scenes (under 3 minutes)
	$(BIN)/earthsignature demo --home $(HOME_OF_DEMO)

ui: $(READY)  ## Open the Dagster UI on the demo's result
	$(BIN)/earthsignature ui --home $(HOME_OF_DEMO)

check: $(READY) docs  ## Format, lint, types, import contracts, docs (under a minute)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## Build the docs into build/site; a broken link fails
	@rm -rf build/site
	$(BIN)/zensical build --strict --clean  # its cache does not see a docstring that changed

test: check  ## Check, then the tests on every core (6 minutes on two cores); ROOM=imagery runs tests/imagery alone
	$(BIN)/pytest -m "not services" -n auto --dist loadfile $(if $(ROOM),tests/$(ROOM))

test-services: $(READY)  ## Run the tests that need a real server
	./scripts/install_services
	$(BIN)/pytest -m services

wheel: $(READY)  ## Build the wheel into dist/ and check its contents and metadata
	rm -rf dist
	$(BIN)/python -m hatchling build --target wheel
	$(BIN)/twine check --strict dist/*.whl
	$(BIN)/check-wheel-contents dist/*.whl

bench: $(READY)  ## Measure; ONLY=name runs one row; results also in build/bench.json
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

soak: $(READY)  ## Run many clients and a publisher for SOAK_MINUTES (10); fails on growth
	$(BIN)/python -m benchmarks.soak --minutes $(or $(SOAK_MINUTES),10)

fuzz: $(READY)  ## Send generated requests to the decoder and the WKT parser for SECONDS (60)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet atheris
	@mkdir -p build/fuzz
	$(BIN)/python tests/fuzz/fuzz_requests.py -max_total_time=$(or $(SECONDS),60) -max_len=4096 build/fuzz

train: $(READY)  ## Train and export corine-unet on DATA, with PyTorch in a separate environment (45 minutes at most)
	./scripts/install_training
	build/services/training/environment/bin/python -m recipes.corine_unet.train --data $(or $(DATA),../shared/data) \
		--repository $(or $(REPOSITORY),build/models) --version $(or $(VERSION),2)

proto: $(READY)  ## Generate the messages of the gRPC service from proto/
	$(BIN)/python scripts/generate_messages.py

lock: $(UV_THERE)  ## Compile requirements/ from pyproject.toml
	$(UV) pip compile --quiet pyproject.toml --extra platform --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --output-file requirements/core.txt
	$(UV) pip compile --quiet pyproject.toml --extra all --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --output-file requirements/dev.txt
	$(UV) pip compile --quiet pyproject.toml --extra platform --extra celery --extra kubernetes --group image --universal --python-version 3.11 \
		--constraint requirements/core.txt --generate-hashes --no-emit-index-url --no-header \
		--output-file requirements/deploy.txt

format: $(READY)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove everything that make made
	rm -rf build dist .venv .venv-* .mypy_cache .ruff_cache .pytest_cache
