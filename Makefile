# Everything happens in .venv, which these targets make themselves.
#
#   make demo          a pipeline on this machine, from nothing (KEEP=1 leaves the stack up)
#   make airflow       Airflow with the example DAGs beside the local stack, until Ctrl-C
#   make dagster       Dagster with the example definitions beside the local stack, until Ctrl-C
#   make test          all tests, over the embedded local stack, under both majors of the Snowflake connector
#   make install       everything, editable, into .venv
#   make soak          exports and loads killed at random moments, hundreds of times (KILLS=300)
#   make bench         exports beside a script of the bare commands; bench-waits: waits and verification beside peers;
#                      bench-airflow: imports, exports, waits and silent successes beside the stock operators;
#                      bench-dagster: imports and sensor ticks beside dagster-aws and dagster-snowflake
#                      bench-sinks: watching a thousand sinks beside a query for each
#   make screenshots   the pictures of the documentation
#   make test-matrix   the fast tests under each Python 3.11 to 3.13 found here, the provider's under Airflow 3.1
#   make lint          ruff, mypy, the import contracts
#   make clean         removes what these targets made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest

# Hundreds of short processes import the same libraries: let Python keep its bytecode.
unexport PYTHONDONTWRITEBYTECODE
# No telemetry and no probes of cloud-metadata addresses: both hang on machines without a network.
export DAGSTER_DISABLE_TELEMETRY := yes
export DO_NOT_TRACK := 1
export AWS_EC2_METADATA_DISABLED := true
export SNOWFLAKE_DISABLE_PLATFORM_DETECTION := true

.PHONY: install demo airflow dagster test test-account test-matrix test-floor test-connector lint format constraints schema soak bench bench-waits bench-airflow bench-dagster bench-sinks screenshots clean

install: $(VENV)/.everything

demo: $(VENV)/.demo
	$(BIN)/mz-orchestration local demo $(if $(KEEP),--keep)

# Airflow beside the local stack, with the example DAGs, until Ctrl-C.
airflow: $(VENV)/.everything
	$(BIN)/mz-orchestration local airflow

# Dagster beside the local stack, with the example definitions, until Ctrl-C.
dagster: $(VENV)/.everything
	$(BIN)/mz-orchestration local dagster

# So many at a time, each with a stack of its own. On two cores a third fills what the waits of the others leave.
WORKERS ?= 3
test: $(VENV)/.everything test-connector
	$(PYTEST) --numprocesses $(WORKERS) --dist loadfile $(ARGS)

# The loads against a real account and a real bucket; says which settings it wants.
test-account: $(VENV)/.everything
	MZ_ORCHESTRATION_ACCOUNT=1 $(PYTEST) -m account tests/e2e/loads $(ARGS)

lint: $(VENV)/.everything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir .import_linter_cache

format: $(VENV)/.everything
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name another with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python's venv module is missing: install the Debian package python3-venv." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: $(BIN)/uv pyproject.toml constraints.txt
	$(UV) --editable '.[local]'
	@touch $@

$(VENV)/.everything: $(BIN)/uv pyproject.toml constraints.txt
	$(UV) --editable '.[all]' --group dev
	@touch $@ $(VENV)/.demo

# The connector's other major, which Airflow's own Snowflake provider holds users on, cannot share an environment.
.venv-connector4/.ready: $(BIN)/uv constraints-connector4.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-connector4
	$(BIN)/uv pip install --quiet --python .venv-connector4/bin/python --constraint constraints-connector4.txt \
		'snowflake-connector-python<5' boto3 httpx psycopg[binary] pyarrow pydantic pyyaml pytest pytest-rerunfailures \
		pytest-timeout pytest-xdist rich tenacity typer
	$(BIN)/uv pip install --quiet --python .venv-connector4/bin/python --no-deps --editable .
	@touch $@

test-connector: $(VENV)/.everything .venv-connector4/.ready
	MZ_LOCAL_SERVER_PYTHON=$(CURDIR)/$(BIN)/python \
		.venv-connector4/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS) \
		tests/contract/local_snowflake tests/contract/snowflake

# The oldest Airflow that is supported, with what there was when it came out.
.venv-airflow31/.ready: $(BIN)/uv constraints-airflow31.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-airflow31
	$(BIN)/uv pip install --quiet --python .venv-airflow31/bin/python --constraint constraints-airflow31.txt \
		'apache-airflow<3.2' apache-airflow-providers-common-sql boto3 httpx psycopg[binary] pyarrow pydantic pyyaml \
		rich typer jsonschema pytest pytest-timeout
	$(BIN)/uv pip install --quiet --python .venv-airflow31/bin/python --no-deps --editable .
	@touch $@

test-floor: .venv-airflow31/.ready
	.venv-airflow31/bin/python -m pytest $(ARGS) tests/unit/airflow

test-matrix: $(BIN)/uv test-floor
	@for version in 3.11 3.12 3.13; do \
		$(BIN)/uv python find --no-python-downloads $$version >/dev/null 2>&1 || { echo "Python $$version is not here"; continue; }; \
		echo "== Python $$version" && \
		$(BIN)/uv venv --quiet --clear --no-python-downloads --python $$version .venv-$$version && \
		$(BIN)/uv pip install --quiet --python .venv-$$version/bin/python --constraint constraints.txt --editable '.[all]' --group dev && \
		.venv-$$version/bin/python -m pytest $(ARGS) tests/unit tests/contract tests/e2e/slice || exit 1; \
	done

constraints: $(BIN)/uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 pyproject.toml --all-extras --group dev --no-header \
		--no-annotate --no-emit-package mz-orchestration --output-file constraints.body
	{ sed -n 1p constraints.txt; cat constraints.body; } > constraints.new
	mv constraints.new constraints.txt && rm constraints.body

schema: $(VENV)/.everything
	$(BIN)/python -c 'import json; from mz_orchestration.exports.manifest import Manifest; \
		print(json.dumps(Manifest.json_schema(), indent=1))' > docs/manifest.schema.json
	$(BIN)/mz-orchestration pipeline schema > docs/pipeline.schema.json

soak: $(VENV)/.everything
	MZ_SOAK_KILLS=$(or $(KILLS),300) $(PYTEST) -s --timeout 7200 tests/e2e/soak

bench: $(VENV)/.everything
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/plan.py --json benchmarks/results-plan.json

bench-sinks: $(VENV)/.everything
	$(BIN)/python benchmarks/sinks.py --json benchmarks/results-sinks.json

# The peers' pins and ours do not fit into one environment.
.venv-peers/.ready: $(BIN)/uv benchmarks/constraints-peers.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers
	$(BIN)/uv pip install --quiet --python .venv-peers/bin/python --constraint benchmarks/constraints-peers.txt \
		apache-airflow-providers-amazon apache-airflow-providers-snowflake apache-airflow-providers-postgres \
		aiobotocore apache-airflow-core pandas 'psycopg[binary]'
	@touch $@

bench-waits: $(VENV)/.everything .venv-peers/.ready
	$(BIN)/python benchmarks/events.py
	$(BIN)/python benchmarks/verify.py --json benchmarks/results-verify.json
	$(BIN)/python benchmarks/waits.py --peers .venv-peers/bin/python

bench-airflow: $(VENV)/.everything .venv-peers/.ready
	$(BIN)/python benchmarks/airflow_imports.py --peers .venv-peers/bin/python
	$(BIN)/python benchmarks/airflow_export.py --peers .venv-peers/bin/python
	$(BIN)/python benchmarks/airflow_silent_success.py --peers .venv-peers/bin/python
	$(BIN)/python benchmarks/airflow_waits.py --peers .venv-peers/bin/python

.venv-peers-dagster/.ready: $(BIN)/uv benchmarks/constraints-peers-dagster.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers-dagster
	$(BIN)/uv pip install --quiet --python .venv-peers-dagster/bin/python \
		--constraint benchmarks/constraints-peers-dagster.txt dagster dagster-aws dagster-snowflake
	@touch $@

bench-dagster: $(VENV)/.everything .venv-peers-dagster/.ready
	$(BIN)/python benchmarks/dagster_costs.py --peers .venv-peers-dagster/bin/python

# SHOTS is a Python with playwright and pillow; the browser is Debian's chromium.
screenshots: $(VENV)/.everything
	$(or $(SHOTS),python3) docs/take_airflow_screenshots.py --python $(BIN)/python
	$(or $(SHOTS),python3) docs/take_dagster_screenshots.py --python $(BIN)/python
	$(or $(SHOTS),python3) docs/take_sinks_screenshot.py --python $(BIN)/python

clean:
	rm -rf $(VENV) .venv-connector4 .venv-airflow31 .venv-peers .venv-peers-dagster .venv-3.* .mz-local .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
