# Needs Python 3.11, Java 17 or 21 and make. Every target sets up the environment that it uses; a repetition costs nothing.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
SUPERSET := lakehouse_assets/bi/superset
JUPYTER := lakehouse_assets/notebook/jupyter
READY := $(VENV)/.ready
ALL ?=
REQUIRE_ALL ?=
ARGS ?=
ONLY ?=
SIZE ?=
DIR ?=

# pip and uv link files into the environment where they can; a cache on another file system is no reason to complain.
export UV_LINK_MODE ?= copy
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo bi notebook test dev docs up down lint bench lock clean bucket-s3 run-job

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 10

setup: $(READY) ## The Python environment and Spark's jars, as locked

demo: $(READY) ## All five domains with data until yesterday: generate, materialize, query
	@$(BIN)/lakehouse demo $(ARGS)

dev: $(READY) ## Dagster's UI and daemon on this machine (ARGS="--port 3001")
	@$(BIN)/lakehouse dev $(ARGS)

bi: $(READY) ## Dashboards in Superset over the warehouse (lakehouse bi stop ends it)
	@$(BIN)/lakehouse bi start $(ARGS)

notebook: $(READY) ## JupyterLab over the lake (ARGS="--port 8889")
	@$(BIN)/lakehouse notebook $(ARGS)

test: $(READY) ## The quick tests; ALL=1 the slow ones too; REQUIRE_ALL=1 a missing tool fails instead of skipping
	@deploy/test_tools
	@LAKEHOUSE_TEST_REQUIRE_ALL='$(REQUIRE_ALL)' $(BIN)/pytest $(if $(ALL),,-m 'not slow') $(ARGS)

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(READY) ## The documentation as a site in site/; a dead link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(if $(DIR),--site-dir '$(abspath $(DIR))')

bench: $(READY) ## Measure speed, side by side: ONLY="a c" SIZE=small|full DIR=folder FILES=folder (docs/performance.md)
	@$(BIN)/python -m bench --only '$(ONLY)' --size '$(or $(SIZE),small)' $(if $(DIR),--dir '$(DIR)') \
	  $(if $(FILES),--files '$(FILES)')

up: ## Everything in containers (docker compose), with the settings of .env
	@docker compose version >/dev/null 2>&1 || { echo "make up needs Docker with its compose plugin." >&2; exit 1; }
	@test -f .env || { echo "No .env yet: cp .env.example .env, then fill in what it calls required." >&2; exit 1; }
	@docker compose up --build --detach --wait
	@echo "Dagster: http://$$(docker compose port webserver 3000)"
	@echo "Dashboards: http://$$(docker compose port superset 8088)"

bucket-s3: $(READY) ## A bucket: bucket=NAME action=create|move_obj|list|all [path=input/] [files=input]
	@$(if $(LAKEHOUSE_S3_ENDPOINT),:,$(BIN)/lakehouse s3 start >/dev/null)
	@case '$(action)' in \
	  create) $(BIN)/lakehouse bucket create '$(bucket)' ;; \
	  move_obj) $(BIN)/lakehouse bucket put '$(bucket)' $(or $(files),input) --path '$(or $(path),input/)' ;; \
	  list) $(BIN)/lakehouse bucket list '$(bucket)' --path '$(path)' ;; \
	  all) $(BIN)/lakehouse bucket list ;; \
	  *) echo "action=create, move_obj, list or all" >&2; exit 2 ;; \
	esac

run-job: export LAKEHOUSE_DOCUMENTS := $(or $(LAKEHOUSE_DOCUMENTS),s3://$(or $(bucket),itau-shop)/input/)
run-job: $(READY) ## The marketplace's stream, until Ctrl-C: bucket=NAME, default itau-shop, or LAKEHOUSE_DOCUMENTS
	@$(if $(LAKEHOUSE_S3_ENDPOINT),:,$(BIN)/lakehouse s3 start >/dev/null)
	@$(BIN)/lakehouse stream marketplace --continuous $(ARGS)

down: ## Stop the containers; their volumes stay
	@docker compose down

lock: $(READY) ## For maintainers: resolve the newest versions that pyproject.toml allows
	@$(BIN)/uv lock --upgrade
	@$(BIN)/uv export --quiet --frozen --all-groups --no-emit-project --no-header --format requirements-txt \
		--output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade --python 3.11 --generate-hashes --no-header --no-annotate \
		$(SUPERSET)/requirements.in --output-file $(SUPERSET)/requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade --python 3.11 --generate-hashes --no-header --no-annotate \
		$(JUPYTER)/requirements.in --output-file $(JUPYTER)/requirements.lock
	@! grep -nE '://' requirements.lock $(SUPERSET)/requirements.lock $(JUPYTER)/requirements.lock || { echo "A lock names a host, see above." >&2; exit 1; }

clean: ## Remove the environment and caches; DATA=1 the local lakehouse too
	@if [ -x $(BIN)/lakehouse ]; then for server in bi spark kafka s3; do $(BIN)/lakehouse $$server stop || true; done; fi
	@rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis $(if $(DATA),"$${LAKEHOUSE_HOME:-.lakehouse}")
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml lakehouse_assets/platform/runtime/jars.lock
	@deploy/install $(VENV) $(UV_VERSION)
	@touch $@
