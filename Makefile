# Rayfold: everything a newcomer types. Needs Python 3.11+ and make, nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?= ./data

# demo, bench and chaos on Pulsar, Elasticsearch and MariaDB
ON_SERVERS := $(if $(SERVERS),--servers)

.PHONY: help setup demo up test simulate check bench clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(VENV)/.ready ## virtual environment with everything in it

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: setup ## real purchases and a shop's clickstream all the way through; EXIT=1 stops by itself, SERVERS=1 on real servers
	$(BIN)/rayfold demo $(if $(EXIT),--exit) $(ON_SERVERS)

up: setup ## start Rayfold on this machine and stay
	$(BIN)/rayfold up --data $(DATA)

.PHONY: servers up-servers
servers: setup ## fetch Pulsar, Elasticsearch and MariaDB into a cache folder
	$(BIN)/rayfold servers

up-servers: setup ## start those three and Rayfold on them; Ctrl-C stops everything in order
	$(BIN)/rayfold up-servers --data $(DATA)

test: setup ## all tests; on real servers too once `make servers` has fetched them
	$(BIN)/python -m pytest $(ARGS)

simulate: setup ## random schedules of crashes and faults on virtual time, for an hour; ARGS="--hours 8"
	$(BIN)/python -m tests.simulation --hours 1 $(ARGS)

check: setup ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## measure this machine; prints a table and writes JSON; SERVERS=1
	$(BIN)/rayfold bench $(ON_SERVERS) $(ARGS)

.PHONY: chaos
chaos: setup ## kill and stop every process of an installation under load, many times (hours); SERVERS=1; ARGS="--rounds 1 --kinds haproxy"
	$(BIN)/python -m tests.chaos $(ON_SERVERS) $(ARGS)

.PHONY: beside
beside: setup ## compare with another checkout, both loaded in turn: OTHER=folder; ARGS="--load batch"
	$(BIN)/python -m tests.beside $(OTHER) $(ARGS)

clean: ## remove what setup made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
