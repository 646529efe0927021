# Rayfold: everything a newcomer types. Needs Python 3.11+ and make, nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?= ./data

.PHONY: help setup demo up test simulate check bench clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(VENV)/.ready ## virtual environment with everything in it

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: setup ## real purchases and a shop's clickstream all the way through; EXIT=1 stops by itself
	$(BIN)/rayfold demo $(if $(EXIT),--exit)

up: setup ## start Rayfold on this machine and stay
	$(BIN)/rayfold up --data $(DATA)

test: setup ## all tests
	$(BIN)/python -m pytest $(ARGS)

simulate: setup ## random schedules of crashes and faults on virtual time, for an hour; ARGS="--hours 8"
	$(BIN)/python -m tests.simulation --hours 1 $(ARGS)

check: setup ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## measure this machine; prints a table and writes JSON
	$(BIN)/rayfold bench $(ARGS)

.PHONY: chaos
chaos: setup ## kill and stop every process of an installation under load, many times (hours); ARGS="--rounds 1 --kinds haproxy"
	$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: beside
beside: setup ## compare with another checkout, both loaded in turn: OTHER=folder; ARGS="--load batch"
	$(BIN)/python -m tests.beside $(OTHER) $(ARGS)

clean: ## remove what setup made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
