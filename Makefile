# The front door on a fresh machine: Python 3.11 and make are enough.
# In an environment that is already active, call snakemake and pytest directly.
PYTHON ?= python3
VENV ?= .venv
INSTALLED = $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
RUN = PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

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
peer: install $(PEER_INSTALLED)
	$(RUN) python -m benchmarks.peer --python $(PEER_VENV)/bin/python --out results/peer $(FLAGS)

$(PEER_INSTALLED): benchmarks/peer-requirements.txt
	test -d $(PEER_VENV) || $(PYTHON) -m venv $(PEER_VENV)
	$(PEER_VENV)/bin/python -m pip install --quiet --requirement benchmarks/peer-requirements.txt
	$(PEER_VENV)/bin/python -m pip install --quiet --no-deps $(PEER)
	rm -f $(PEER_VENV)/.installed-*
	touch $@

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

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/.installed-*
	touch $@

clean:
	rm -rf $(VENV) $(PEER_VENV) .snakemake
