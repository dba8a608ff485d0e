# `make demo` and `make test` need nothing but Python 3.11 or 3.12: what they need, they set up in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup demo ui test check lint types arrows clean lock

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@echo "Installing into $(VENV): two or three minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install -qqq --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: setup
	$(BIN)/python -m demo

# What the demo made, in MLflow's own registry UI; prints its address when it answers.
ui: setup
	$(BIN)/python -m demo.ui

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

arrows: setup
	$(BIN)/python -m pytest tests/test_architecture.py

check: lint types test

# Resolves pyproject.toml's extras again; needs uv. The lock is complete (hence --no-deps above) and holds names and
# versions only. sagemaker-mlflow is left out on purpose: it replaces MLflow's S3 artefact store by entry point and warns
# on every request to a tracking server that is no SageMaker one (MLflow 3.17.2, sagemaker-mlflow 0.5.0).
lock:
	uv pip compile pyproject.toml --all-extras --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  --no-emit-package sagemaker-mlflow --output-file requirements.lock --quiet

clean:
	rm -rf $(VENV) .slipway mlruns mlflow.db mlartifacts
