# The front door on a fresh machine: Python 3.11 and make are enough.
# In an environment that is already active, call snakemake and pytest directly.
PYTHON ?= python3
VENV ?= .venv
INSTALLED = $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
RUN = PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

# The Python that was asked for, by `make PYTHON=..`; none by default.
ASKED = $(if $(filter-out file,$(origin PYTHON)),$(PYTHON))
VERSION = -c 'import sys; assert sys.version_info >= (3, 11); print(*sys.version_info[:2])'
# There while pip works: what is found with it was interrupted.
UNFINISHED = .unfinished

# Whether a virtual environment is whole: a Python that is new enough and the one asked for, and pip.
# Why not python -m pip: programs of an environment that was moved still call the Python it had.
whole = test ! -e $(1)/$(UNFINISHED) && $(1)/bin/pip --version > /dev/null 2>&1 \
	&& version="$$($(1)/bin/python $(VERSION) 2> /dev/null)" \
	&& test "$(if $(ASKED),$$($(ASKED) $(VERSION) 2> /dev/null),$$version)" = "$$version"
# Makes a virtual environment, anew where it is not whole.
define environment
	@$(call whole,$(1)) || { \
		$(PYTHON) $(VERSION) > /dev/null 2>&1 || { \
			echo "$(PYTHON) is no Python of 3.11 or later. Name one: make PYTHON=python3.11" >&2; exit 1; }; \
		test ! -e $(1) || test -e $(1)/pyvenv.cfg || { \
			echo "$(1) is no virtual environment. Delete it, or name another folder" >&2; exit 1; }; \
		test ! -e $(1) || echo "$(1) is not whole, or of another Python: it is made anew"; \
		rm -rf $(1) && $(PYTHON) -m venv $(1); }
endef
# Installs packages; where pip fails, and is not killed, the environment stays as whole as it was.
pip = touch $(1)/$(UNFINISHED) && { $(1)/bin/python -m pip install --quiet $(2); status=$$?; \
	rm -f $(1)/$(UNFINISHED); test $$status = 0; }

.PHONY: table2 report test test-kernels test-long fuzz chaos slurm-test check smoke ambiguities \
	benchmark peer kernels gpu gpu-steps full-scale readme install clean

# CONFIG=mine.yaml: another config than the default one.
CONFIG =
WITH_CONFIG = $(if $(CONFIG),--configfile "$(CONFIG)")

# Raw data -> results/table2.csv, by the default config (simulated data) or by CONFIG.
table2: install
	$(RUN) snakemake --cores all $(WITH_CONFIG) -- results/table2.csv

# The page that tells all of an experiment, and its notebooks.
report: install
	$(RUN) snakemake --cores all $(WITH_CONFIG) -- results/report.html notebooks

# A tiny whole run, kept under results/smoke/; the tables at the root of results/ stay.
smoke: install
	$(RUN) snakemake --cores all --configfile workflow/config/smoke.yaml -- \
		results/smoke/table1.csv results/smoke/table2.csv results/smoke/frozen.csv

# A part of the smoke run killed at 20 moments, started again each time, compared with one left alone:
# about ten minutes on two cores.
chaos: install
	$(RUN) python tests/campaigns/chaos.py --out results/chaos $(FLAGS)

# The ambiguity ledger with its measured effects, as it stands in docs/ (half an hour on two cores).
ambiguities: install
	$(RUN) snakemake --cores all --configfile workflow/config/sensitivity.yaml
	cp results/sensitivity/effects.csv docs/ambiguities.csv
	$(RUN) python -m userbench ambiguities --ledger src/userbench/experiment/ledger.yaml \
		--effects docs/ambiguities.csv --out docs/ambiguities.md

# The parts of README.md that are made from results: those of the default run, of which docs/ keeps
# table2.csv, statistics.csv and agreement.csv with their provenance. A test holds them together.
readme: install
	$(RUN) python -m userbench readme --results docs/results/default --write README.md

# Speed and memory beside a plain implementation: about five minutes on two cores, which should have
# nothing else to do. The status is not 0 where a promise is broken. FLAGS="--threads 1 2" etc.
benchmark: install
	$(RUN) python -m benchmarks.run --out results/benchmark --page docs $(FLAGS)

# Masked items by RecBole beside us, in one run, RecBole in a virtual environment of its own (1.3 GB):
# five minutes on two cores, which should have nothing else to do; FLAGS="--seconds 2" for a try.
# Where results/peer/peer.csv and its provenance are copied to docs/results/, make benchmark shows them.
PEER_VENV ?= .venv-peer
PEER = recbole==1.2.1
PEER_INSTALLED = $(PEER_VENV)/.installed-$(PEER)-$(shell cksum < benchmarks/peer-requirements.txt | cut -d' ' -f1)
peer: install
	$(call environment,$(PEER_VENV))
	test -e $(PEER_INSTALLED) || { $(call pip,$(PEER_VENV),--requirement benchmarks/peer-requirements.txt) \
		&& $(call pip,$(PEER_VENV),--no-deps $(PEER)) \
		&& rm -f $(PEER_VENV)/.installed-* && touch $(PEER_INSTALLED); }
	$(RUN) python -m benchmarks.peer --python $(PEER_VENV)/bin/python --out results/peer $(FLAGS)

# What a step of every method asks of a GPU, counted without one: half a minute.
kernels: install
	$(RUN) python -m benchmarks.kernels --out results/kernels $(FLAGS)

# All that is to be known of training on this machine's GPU, in nine minutes. It needs torch and
# nothing of the environment above, so it installs nothing. FLAGS="--only sharing" etc.
gpu:
	PYTHONPATH=src $(PYTHON) -m benchmarks.gpu --out results/gpu $(FLAGS)

# The steps on a GPU that `userbench plan --gpu` adds up, once docs/results/ has others: a minute.
gpu-steps: install
	$(RUN) python -m benchmarks.kernels --out docs/results
	$(RUN) python -m benchmarks.gpu_steps
	$(RUN) python -m benchmarks.gpu_page --rows docs/results/gpu/h100.jsonl --commit e11d820 \
		--page docs/gpu.md

# Time and memory at the paper's full scale, simulated: 3 GB under results/, one to two hours.
full-scale: install
	$(RUN) python -m benchmarks.full_scale --out docs/full-scale.csv $(FLAGS)

# On all cores, a file of tests at a time on each.
PYTEST = $(RUN) OMP_NUM_THREADS=1 pytest --numprocesses auto --dist loadfile
test: install
	$(PYTEST) -m "not long"

# Our own GPU kernels against their plain versions, on a CPU, in Triton's interpreter (200 MB, which it
# installs): right or wrong can be seen there, speed cannot.
test-kernels: install
	$(VENV)/bin/python -m pip install --quiet "userbench[kernels]"
	$(RUN) TRITON_INTERPRET=1 OMP_NUM_THREADS=1 pytest --numprocesses auto tests/model/kernels

# The others: whole small workflows, plans of them, and a benchmark.
test-long: install
	$(PYTEST) -m long

# The workflow on a real Slurm of one node, installed where it is missing (root, Debian), and stopped
# again; says "skipped" where it may not. FLAGS=--whole: the whole smoke experiment.
slurm-test: install
	$(RUN) python tests/campaigns/slurm_run.py $(FLAGS)

# 20,000 damaged raw files, 5,000 damaged logs, and some that are too large: a store or one clear line (minutes).
fuzz: install
	$(RUN) python tests/campaigns/fuzz.py --files 20000
	$(RUN) python tests/campaigns/fuzz_events.py --files 5000

# All linters.
check: install
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) lint-imports
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

install:
	$(call environment,$(VENV))
	@test -e $(INSTALLED) || { $(call pip,$(VENV),--requirement requirements.lock) \
		&& $(call pip,$(VENV),--no-deps --no-build-isolation --editable .) \
		&& rm -f $(VENV)/.installed-* && touch $(INSTALLED); }

clean:
	rm -rf $(VENV) $(PEER_VENV) .snakemake
