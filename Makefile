PYTHON ?= python3
RUN = .venv/bin
HOSTS = not load and not kube
# each worker has a lab of its own, and half of its time waits for systemd, or for what is to time out
LABS = --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 10

.PHONY: help demo lint unit lab test bench docs walk
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 16

demo: .venv/ready ## three real systemd hosts on this machine, then build and deploy to them
	$(RUN)/fab lab.up build deploy
	@echo "Next: .venv/bin/fab status, .venv/bin/fab lab.shell, .venv/bin/fab --list; the end: .venv/bin/fab lab.down"

lint: .venv/ready ## ruff and mypy --strict
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

unit: .venv/ready ## tests of modules: no root, no network, no host
	$(RUN)/pytest -m "not lab and not start and $(HOSTS)" --numprocesses 4 --dist worksteal

lab: .venv/ready ## tests on real hosts, every fault among them, and of how fab starts (root)
	$(RUN)/pytest -m "(lab or start) and $(HOSTS)" $(LABS)

test: lint ## all of it: lint, all tests, and real kube-apiservers (root)
	$(RUN)/pytest -m "$(HOSTS)" $(LABS)
	$(RUN)/fab lab.build
	$(RUN)/pytest -m "load or kube" --durations 5

FLEET = $(RUN)/python -m benchmarks.fleet --write
# as many forks of Ansible as these, and OpenSSH with a process a host, are too much for one machine
THOUSAND = fab status,fab deploy,Fabric with ssh_config,Fabric,paramiko,asyncssh,pyinfra
bench: .venv/ready ## measure what docs/behaviour.md and docs/performance.md say, and write them (root)
	$(RUN)/python -m benchmarks.behaviour
	for nodes in 30 100 300; do $(FLEET) --nodes $$nodes || exit; done
	$(FLEET) --nodes 1000 --only '$(THOUSAND)'
	$(FLEET) --nodes 300 --delay 1
	$(FLEET) --nodes 100 --delay 8
	for nodes in 6 30; do $(FLEET) --hosts real --nodes $$nodes || exit; done
	$(RUN)/python -m benchmarks.fleet.rollout

docs: .venv/ready ## write what docs/ says of tasks and settings, from the code
	$(RUN)/python -m tests.docs

# make walk SEED=7 SECONDS=3600 RELEASE=trixie (or NODE=lab-node-3), REPLAY=FILE or MOVES='run deploy; ...';
# WALK=--keep-going goes on after what it found, WALK=--help has the rest
SEED ?= 1
walk: .venv/ready ## a random walk over one real host, by a seed, and what must hold after each move
	$(RUN)/python -m tests.walk --seed '$(SEED)' $(if $(SECONDS),--seconds '$(SECONDS)') \
	  $(if $(RELEASE),--release '$(RELEASE)') $(if $(NODE),--node '$(NODE)') \
	  $(if $(REPLAY),--replay '$(REPLAY)') $(if $(MOVES),--moves '$(MOVES)') $(WALK)

# Debian's python3 comes without the module venv; there, apt-get brings it
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv || { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv .venv; }
	$(RUN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
