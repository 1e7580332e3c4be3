PYTHON ?= python3

.PHONY: demo test walk
demo: .venv/ready
	.venv/bin/fab lab.up build deploy
	@echo "Next: .venv/bin/fab status, .venv/bin/fab lab.shell, .venv/bin/fab --list; the end: .venv/bin/fab lab.down"

test: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest -m "not load and not kube" --numprocesses 3 --dist loadfile --no-loadscope-reorder
	.venv/bin/fab lab.build
	.venv/bin/pytest -m "load or kube"

# By hand: make walk SEED=7 SECONDS=3600 RELEASE=trixie (or NODE=lab-node-3), REPLAY=FILE or MOVES='run deploy; ...';
# WALK=--keep-going goes on after what it found, WALK=--help has the rest
SEED ?= 1
walk: .venv/ready
	.venv/bin/python -m tests.walk --seed '$(SEED)' $(if $(SECONDS),--seconds '$(SECONDS)') \
	  $(if $(RELEASE),--release '$(RELEASE)') $(if $(NODE),--node '$(NODE)') \
	  $(if $(REPLAY),--replay '$(REPLAY)') $(if $(MOVES),--moves '$(MOVES)') $(WALK)

# Debian's python3 comes without the module venv; there, apt-get brings it
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv || { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv .venv; }
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
