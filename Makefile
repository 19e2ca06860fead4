# Every target does all of its own set-up from a fresh clone: a virtual environment in .venv, by
# plain pip, every version pinned by constraints.txt. Files .venv/.* mark what is installed.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip install --quiet --constraint constraints.txt
STUDY := studies/lab-quick.yaml

.PHONY: study test lint bench real-data findings clean

study: $(VENV)/.core  ## run the quick lab study on two processes and write its report
	$(VENV)/bin/distillscale study run $(STUDY) --workers 2

test: $(VENV)/.test browser  ## run all tests, slow ones too, in two processes of one thread each
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2 --dist loadfile

lint: $(VENV)/.lint  ## format, lint, types, import layers
	$(VENV)/bin/ruff format --check src tests bench
	$(VENV)/bin/ruff check src tests bench
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.bench  ## distillation steps, pruning and scoring against TRL, Model-Optimizer, lm-eval and others
	$(VENV)/bin/python -W ignore bench/kd_step.py
	$(VENV)/bin/python -W ignore bench/prune.py
	$(VENV)/bin/python -W ignore bench/scoring.py

real-data: $(VENV)/.core  ## the run of docs/real-data.md on real headlines (needs ../shared)
	$(VENV)/bin/python bench/real_headlines.py

findings: $(VENV)/.core  ## docs/findings.md from docs/results/lab.parquet
	$(VENV)/bin/python -W ignore bench/findings.py

clean:  ## remove the virtual environment and all outputs
	rm -rf $(VENV) outputs

# torch comes first and alone: another package's open requirement would fetch a CUDA build of it.
$(VENV)/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(PIP) --editable '.[embeddings,endpoint,harness,hub,instruct,onnx,serve,test,umap]'
	touch $@

$(VENV)/.bench: $(VENV)/.core
	$(PIP) --editable '.[bench,harness]'
	touch $@

$(VENV)/.lint: $(VENV)/.core
	$(PIP) --editable '.[lint]'
	touch $@

# The report's browser test skips, with the reason, where Chromium is missing and cannot be installed.
.PHONY: browser
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; } \
		|| echo "no Chromium here: the browser test will be skipped"
