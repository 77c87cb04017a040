# Every target sets up what it needs: a fresh clone needs python3 and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test test-slow test-lowest package browser emulators fuzz lint types bench html docs figures clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,onnx]'
	touch $@

demo: install
	$(BIN)/secateurs fit digits --nonzeros 300 --compare

test: install
	$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

test-slow: install
	$(BIN)/pytest -m slow --timeout 3600

# The tests of the report open it in Chromium, and are skipped without one.
browser:
	command -v chromium || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

# The tests of the programs for microcontrollers run them on emulated ones, and are skipped without.
EMULATORS := gcc g++ gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc-avr avr-libc simavr

emulators:
	command -v arm-none-eabi-gcc qemu-system-arm avr-gcc simavr || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $(EMULATORS); }

# The wheel, in an environment that has nothing else: no extra, no test tools, no sources.
package: install
	rm -rf dist .venv-bare
	$(BIN)/python -m build --outdir dist . >/dev/null
	$(PYTHON) -m venv .venv-bare
	.venv-bare/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cd dist && ../.venv-bare/bin/secateurs fit digits --nonzeros 300 --output model.safetensors
	$(BIN)/pytest -m package tests/core/test_package.py

# The lowest versions of the dependencies that pyproject.toml allows.
test-lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	$(PYTHON) .ci/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/pip install --quiet --constraint .venv-lowest/constraints.txt --editable '.[dev,onnx]'
	.venv-lowest/bin/pytest -n auto --maxprocesses 4 --dist worksteal -o filterwarnings=default

# Mutated files of every format; a campaign that was stopped goes on where it was.
fuzz: install
	$(BIN)/python -m fuzz --inputs 100000 --state fuzz-state.json

# Style, import laws (contracts in pyproject.toml), code that nothing uses.
lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/vulture

types: install
	$(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks.training.kernels
	$(BIN)/python -m benchmarks.training.memory
	$(BIN)/python -m benchmarks.training.tables

# The site as it is, and the site with every picture drawn again, which takes long.
html: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	rm -rf docs/_build/html docs/reference/generated
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

docs: figures html

figures: install
	$(BIN)/python docs/figures.py

clean:
	rm -rf .venv .venv-bare .venv-lowest dist docs/_build docs/auto_gallery docs/reference/generated .pytest_cache .mypy_cache .ruff_cache
