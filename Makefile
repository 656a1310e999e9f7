# Every target sets up what it needs, in .venv; run `make` alone for a list.

VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
QUICK_SPARK := .cache/spark/classes.jsa
REPLAYING := common v2 archived/partitioned
PROJECTS := pyproject.toml common/pyproject.toml v2/pyproject.toml balanced/pyproject.toml \
	archived/partitioned/pyproject.toml

# Workers must run this very Python, and nothing of another environment may shine through.
export PYSPARK_PYTHON := $(CURDIR)/$(PYTHON)
unexport PYTHONPATH VIRTUAL_ENV SPARK_HOME

.PHONY: help demo test test-unit test-limits fuzz test-lowest test-matrix chaos chaos-proof lint format bench bench-write bench-ways bench-latency bench-kafka bench-scale bench-all bench-balanced bench-partitioned clean java
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 25

demo: $(STAMP) java ## a year of real flights through JetStream and Spark
	@$(PYTHON) examples/flights/demo.py

test: $(STAMP) $(QUICK_SPARK) java ## all tests, against real servers (ARGS="-k name" to choose)
	@$(PYTHON) -m pytest -n 4 --dist worksteal $(ARGS)  # they wait as much as they work

test-unit: $(STAMP) ## unit and property tests, without servers and Spark
	@$(PYTHON) -m pytest -n 2 tests/unit $(ARGS)

fuzz: $(STAMP) ## mutated bytes for every parser, for FUZZ_SECONDS (60)
	@$(PYTHON) -m tests.fuzz

test-limits: $(STAMP) $(QUICK_SPARK) java ## tests of sizes, numbers and pauses that take long
	@$(PYTHON) -m pytest -m limits $(ARGS)  # one after the other, because they measure memory

# All packages together, and without the one that needs a newer Spark than the others.
test-lowest: java ## tests with the lowest versions that the packages and their extras allow
	@mkdir -p .cache && scripts/lowest-versions > .cache/lowest.txt
	@scripts/lowest-versions $(REPLAYING) > .cache/lowest-replaying.txt
	@scripts/make-venv .venv-lowest .cache/lowest.txt
	@PYSPARK_PYTHON=$(CURDIR)/.venv-lowest/bin/python .venv-lowest/bin/python -m pytest tests/unit \
		tests/integration/test_batch.py tests/integration/test_connections.py \
		tests/integration/test_credentials.py tests/integration/test_tls.py \
		tests/integration/test_balanced_query.py tests/integration/test_observe.py \
		tests/integration/command/test_arguments.py $(ARGS)
	@scripts/make-venv .venv-lowest-replaying .cache/lowest-replaying.txt $(REPLAYING)
	@PYSPARK_PYTHON=$(CURDIR)/.venv-lowest-replaying/bin/python .venv-lowest-replaying/bin/python -m pytest \
		tests/unit --ignore tests/unit/balanced --ignore tests/unit/chaos --ignore tests/unit/replay/test_pushdown.py \
		tests/integration/test_admission.py tests/integration/test_batch.py \
		tests/integration/test_data_loss.py tests/integration/test_old_reader.py $(ARGS)

test-matrix: $(STAMP) java ## core tests over versions of Spark, nats-server and Python (ARGS="server-2.10.26")
	@scripts/test-matrix $(ARGS)

chaos: $(STAMP) $(QUICK_SPARK) java ## random faults on a cluster, for ten minutes (CHAOS_SECONDS, CHAOS_SEED, CHAOS_SCENARIO)
	@$(PYTHON) -m tests.chaos

chaos-proof: $(STAMP) $(QUICK_SPARK) java ## plant six bugs in a copy: chaos must find each
	@$(PYTHON) -m tests.chaos.planted

lint: $(STAMP) ## ruff and mypy --strict
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

format: $(STAMP) ## format and fix the code with ruff
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

bench: $(STAMP) java ## measure reading, all sides in one run, and print ratios (ARGS="--quick")
	@$(PYTHON) benchmarks/run.py $(ARGS)

bench-write: $(STAMP) java ## measure writing (ARGS="--quick")
	@$(PYTHON) benchmarks/write.py $(ARGS)

bench-ways: $(STAMP) ## measure direct gets against consumers (ARGS="--quick" or "--cluster")
	@$(PYTHON) benchmarks/ways.py $(ARGS)

bench-latency: $(STAMP) java ## measure from publish to foreachBatch (ARGS="--quick")
	@$(PYTHON) benchmarks/latency.py $(ARGS)

bench-scale: $(STAMP) java ## measure up to 10,000,000 messages and 10,000 streams (ARGS="--quick")
	@$(PYTHON) benchmarks/scale.py $(ARGS)

bench-balanced: $(STAMP) java ## compare the balanced flavor with V2 (ARGS="--quick")
	@$(PYTHON) benchmarks/balanced.py $(ARGS)

# Spark's Kafka source is not published for every release of PySpark; this is the last that has one.
bench-kafka: java ## compare V2 with Spark's Kafka source; needs Maven (ARGS="--quick")
	@mkdir -p .cache && sed 's/^pyspark==.*/pyspark==4.2.0/' constraints.txt > .cache/kafka.txt
	@scripts/make-venv .venv-kafka .cache/kafka.txt
	@PYSPARK_PYTHON=$(CURDIR)/.venv-kafka/bin/python .venv-kafka/bin/python benchmarks/kafka.py $(ARGS)

bench-all: bench bench-kafka bench-ways bench-latency bench-scale bench-balanced bench-partitioned bench-write ## all of them, and a page with the results
	@$(PYTHON) benchmarks/ways.py --cluster $(ARGS)
	@$(PYTHON) benchmarks/page.py $(if $(findstring --quick,$(ARGS)),.cache/benchmarks)

bench-partitioned: $(STAMP) java ## compare the partitioned flavor with V2 (ARGS="--quick")
	@$(PYTHON) benchmarks/partitioned.py $(ARGS)

clean: ## remove everything that the targets created
	@rm -rf $(VENV) .venv-lowest .venv-lowest-replaying .venv-kafka .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build \
		spark-warehouse metastore_db derby.log examples/flights/output
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

java:
	@scripts/find-java

# The tests start so many JVMs and Python workers that it pays to make their start cheaper.
$(QUICK_SPARK): $(STAMP) tests/_support/prepare_spark.py | java
	@echo "preparing a Spark that starts quickly (half a minute, once)"
	@$(PYTHON) -m tests._support.prepare_spark 2>/dev/null

$(STAMP): $(PROJECTS) constraints.txt scripts/make-venv
	@scripts/make-venv $(VENV)
	@touch $@
