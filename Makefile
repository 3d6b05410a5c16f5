# Two commands for a newcomer: `make demo` and `make test`. Each sets up all it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-compile --only-binary :all:
DEMO ?= build/demo
PIN = $(BIN)/toolkit --study $(DEMO)/sample/study.toml --workspace $(DEMO)/workspace

# Tests write into memory where 8 GB of it are free for files (they take 2): a sixth of their time is that of the disk.
IN_MEMORY = $(shell test "$$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 8000000 2>/dev/null && echo TMPDIR=/dev/shm)

# An inherited PYTHONDONTWRITEBYTECODE would make every later run compile anew; --no-compile halves a cold set-up.
unexport PYTHONDONTWRITEBYTECODE
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test wheel soak bench coverage check docs golden pin lock clean

demo: .venv/.model
	rm -rf $(DEMO)
	$(BIN)/toolkit sample $(DEMO)/sample
	$(BIN)/toolkit --study $(DEMO)/sample/study.toml --workspace $(DEMO)/workspace run $(DEMO)/sample/export.ndjson --images $(DEMO)/sample/images

test: .venv/.model .venv/.dev .venv/.browser
	$(IN_MEMORY) $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder --durations=10

# Wheel and sdist in dist/, and the whole line with the wheel alone, away from this folder.
wheel: .venv/.model
	rm -rf dist
	$(BIN)/hatchling build -d dist
	$(BIN)/python -P tests/wheel.py dist

soak: .venv/.model .venv/.dev
	$(BIN)/python -m pytest tests/soak --capture=no
	$(BIN)/python -m pytest -m soak --numprocesses=2 --dist=loadfile

bench: .venv/.model .venv/.dev
	$(BIN)/python tests/benchmarks/parse.py --cases 5000 20000
	$(BIN)/python tests/benchmarks/split.py
	$(BIN)/python tests/benchmarks/duplicates.py
	$(BIN)/python tests/benchmarks/exposures.py
	$(BIN)/python tests/benchmarks/audit.py
	$(BIN)/python tests/benchmarks/suspects.py
	$(BIN)/python tests/benchmarks/scoring.py
	$(BIN)/python tests/benchmarks/chat_scoring.py
	$(BIN)/python tests/benchmarks/training.py
	$(BIN)/python tests/benchmarks/waiting.py
	$(BIN)/python tests/benchmarks/report.py
	$(BIN)/python tests/benchmarks/growth.py
# Ten minutes and 4 GB of disk more, after make demo: python tests/benchmarks/questions.py build/demo/workspace

# Half an hour: how often the intervals of evaluate hold the true value.
coverage: .venv/.model .venv/.dev
	$(BIN)/python tests/benchmarks/coverage.py --write
	$(BIN)/python tests/benchmarks/impact.py --write

check: .venv/.model .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ty check toolkit
	$(BIN)/python docs/generate.py --check
	$(BIN)/python docs/check_language.py
	$(BIN)/toolkit --quiet claims reports/sample >/dev/null

docs: .venv/.model
	$(BIN)/python docs/generate.py

# The split that ships with the demo: anew where cases, groups or the way of splitting have changed. Read the diff.
pin: .venv/.model
	rm -rf $(DEMO)
	$(BIN)/toolkit sample $(DEMO)/sample
	grep -v '^pinned' manifests/demo.toml > $(DEMO)/sample/study.toml
	$(PIN) parse $(DEMO)/sample/export.ndjson --images $(DEMO)/sample/images
	$(PIN) audit
	$(PIN) split
	rm -rf manifests/demo.split
	cp -r $(DEMO)/workspace/splits/* manifests/demo.split

# The sample report, and the pictures of README and docs, from a demo of its own; needs chromium. Look at what changed.
golden: .venv/.model .venv/.dev
	rm -rf $(DEMO)
	$(BIN)/python docs/golden.py $(DEMO)

.venv/.pip:
	$(PYTHON) -m venv .venv
	$(INSTALL) pip==26.3
	touch $@

.venv/.core: .venv/.pip requirements/core.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements/core.lock
	$(PIP) install --quiet --no-compile --no-deps --no-build-isolation --editable .
	touch $@

.venv/.dev: .venv/.core requirements/dev.lock
	$(INSTALL) --require-hashes -r requirements/dev.lock
	touch $@

# A browser for the tests of the page: Playwright's own unless there is one. Tried once, for three minutes at most.
.venv/.browser: .venv/.dev
	$(BIN)/python tests/browser.py
	touch $@

# Each package by its hash; then torch, which finds all that it needs installed, but for CUDA on a GPU machine.
.venv/.model: .venv/.core requirements/model.lock requirements/torch.txt
	$(INSTALL) --require-hashes --no-deps -r requirements/model.lock
	$(INSTALL) -r requirements/torch.txt
	$(PIP) check
	touch $@

# Needs uv on the PATH; run it when a dependency changes, and read the diff.
COMPILE := uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --no-annotate --no-header \
	--no-emit-index-url -c requirements/torch.txt
NOT_HASHED := torch $(foreach p,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse \
	cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx,nvidia-$p) cuda-bindings cuda-pathfinder cuda-toolkit triton
lock:
	$(COMPILE) --generate-hashes --group build pyproject.toml -o requirements/core.lock
	$(COMPILE) --generate-hashes -c requirements/core.lock --group dev -o requirements/dev.lock
	$(COMPILE) --generate-hashes -c requirements/core.lock -c requirements/dev.lock --extra model \
		$(NOT_HASHED:%=--no-emit-package %) pyproject.toml -o requirements/model.lock

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
