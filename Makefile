SHELL := /bin/bash
VENV := .venv
REFERENCE := .venv-reference
# the first of these that runs and is Python 3.11 or 3.12
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
# the CUDA build that pip finds by default is 2 GB larger; with PyTorch's index of CPU builds:
#   make test TORCH="torch==2.13.0 --index-url URL"
TORCH ?= torch==2.13.0
JOBS ?= 2
VIDEO ?=
HEIGHT ?= null

# shared library : Debian package
LIBRARIES := libGL.so.1:libgl1 libEGL.so.1:libegl1 libEGL_mesa.so.0:libegl-mesa0 \
	libGLESv2.so.2:libgles2 libX11.so.6:libx11-6 libgthread-2.0.so.0:libglib2.0-0 \
	libgomp.so.1:libgomp1

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: help venv demo test test-cluster test-reference lint clean libraries packages
.DELETE_ON_ERROR:

help:
	@echo "make demo                              run the clips of resources/demo and print the table"
	@echo "make demo VIDEO=clip.mp4 HEIGHT=1.75   run a clip of your own (stature in m, if known)"
	@echo "make test | lint | venv | clean"
	@echo "make test-cluster                      long runs on a SLURM of this machine (root, slurm-wlm, munge)"
	@echo "make test-reference                    run small copies of the GPU models (7 GB of packages)"

venv: $(VENV)/base.stamp

# missing system packages, one line; empty where there is nothing to install
packages:
	@command -v /sbin/ldconfig >/dev/null || exit 0; known=$$(/sbin/ldconfig -p); \
	for pair in $(LIBRARIES); do [[ $$known == *"$${pair%%:*}"* ]] || printf '%s ' "$${pair##*:}"; done; \
	compgen -G '/usr/lib/*/dri/swrast_dri.so' >/dev/null || compgen -G '/usr/lib*/dri/*_dri.so' >/dev/null \
	|| compgen -G '/usr/lib/*/dri/*_dri.so' >/dev/null || printf 'libgl1-mesa-dri '

libraries:
	@missing=$$($(MAKE) --no-print-directory -s packages); if [[ -n $$missing ]]; then \
	echo "missing system libraries; install them and run again:"; \
	echo "  sudo apt-get install -y --no-install-recommends $$missing"; exit 1; fi

$(VENV)/base.stamp: requirements.lock | libraries
	@[[ -n "$(PYTHON)" ]] || { echo "no Python 3.11 or 3.12 found; name one with PYTHON=..."; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version): about 1.5 GB, some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps -e .
	@touch $@

$(VENV)/test.stamp: requirements-test.lock $(VENV)/base.stamp
	@$(PIP) $(TORCH)
	@$(PIP) -r requirements.lock -r requirements-test.lock
	@touch $@

ifeq ($(VIDEO),)
demo: CONFIG := videos=resources/demo
else
demo: CONFIG := 'videos=$(VIDEO)' height=$(HEIGHT)
endif
demo: $(VENV)/base.stamp
	@$(BIN)/snakemake --quiet rules host --jobs $(JOBS) --forcerun summary --config route=cpu $(CONFIG)

test: $(VENV)/test.stamp
	@$(BIN)/python -m pytest

test-cluster: $(VENV)/test.stamp
	@PANTOGRAPH_CLUSTER=1 $(BIN)/python -m pytest -m cluster -rA

$(REFERENCE)/stamp: requirements.lock requirements-test.lock requirements-reference.lock | libraries
	@[[ -n "$(PYTHON)" ]] || { echo "no Python 3.11 or 3.12 found; name one with PYTHON=..."; exit 1; }
	@[[ -e $@ || $$(df -Pk . | awk 'NR == 2 {print $$4}') -gt 9000000 ]] \
	|| { echo "$(REFERENCE) needs 9 GB of free disk space"; exit 1; }
	@echo "making $(REFERENCE) with $$($(PYTHON) --version): about 7 GB, some minutes"
	@$(PYTHON) -m venv $(REFERENCE)
	@$(REFERENCE)/bin/python -m pip install --disable-pip-version-check --quiet \
	-r requirements.lock -r requirements-test.lock -r requirements-reference.lock
	@touch $@

test-reference: $(REFERENCE)/stamp
	@PANTOGRAPH_REFERENCE=1 $(REFERENCE)/bin/python -m pytest -m reference -rA

lint: $(VENV)/test.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile rules
	@$(BIN)/snakemake --lint

clean:
	rm -rf results logs scripts/*.egg-info .snakemake .cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +
