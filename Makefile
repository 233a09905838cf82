# make install: .venv with the pinned dependencies. make demo, make test: the same set-up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RIVALS := .venv-priorband .venv-smac .venv-hebo
# One thread a process: several threads on few cores slow one another down by orders of magnitude.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: install demo test lint types unit bench-choice bench-families bench-final-samples bench-input bench-metrics \
  bench-proposals bench-sampling bench-sizes bench-standings bench-two-speeds bench-tuning tuning-tables rivals format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt pip setuptools
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/gentune compare --data digits \
	  --families gaussian_mixture,beta_vae,wgan_gp,realnvp,ddpm \
	  --trainings 3 --out runs/demo

# Types are checked while the tests run: each takes minutes on one core.
test: install lint
	$(MAKE) --jobs 2 types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	$(BIN)/pytest -q -n 2 -m 'not slow' --durations 10

# docs/metrics.md: every metric, and which planted failures it catches.
bench-metrics: install
	$(BIN)/python tests/performance/planted_failures.py

# docs/benchmarks.md: how FID varies over draws of one model's samples, and over the labels that are asked for.
bench-final-samples: install
	$(BIN)/python tests/performance/final_samples.py

# docs/benchmarks.md: accuracy against recall over the guidance scale, and samplers with few network evaluations.
bench-sampling: install
	$(BIN)/python tests/performance/sampling_choices.py

# docs/benchmarks.md: how fast batches come, and the memory of a large set; 10 GiB of disk for some minutes.
bench-input: install
	$(BIN)/python tests/performance/input_path.py
	$(BIN)/python tests/performance/scoring_memory.py

# docs/families.md: every family tuned on the digits, and its speed next to others; continues where it was stopped.
bench-families: install
	$(BIN)/gentune compare --data digits --families all --trainings 10 --thorough --out runs/families
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'
	$(BIN)/python tests/performance/modes.py
	$(BIN)/python tests/performance/family_speed.py
	$(BIN)/python tests/performance/families_page.py

# docs/benchmarks.md, what retrainings on validation choose in simulated studies: 20 minutes, then only what is not done.
bench-choice: install
	$(BIN)/python tests/performance/choice.py --page

# docs/benchmarks.md, defaults on 16x16 colour patches and 14x14 digits against one Gaussian: an hour of one core at first.
bench-sizes: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,datasets]'
	$(BIN)/python tests/performance/default_sizes.py --page

ABLATIONS := gentune:without=additive,gentune:without=level,gentune:without=character,gentune:without=repeats,gentune:without=caution,gentune:without=transform

# docs/benchmarks.md, whether the leaderboard's claims hold: simulated boards, half an hour of one core at first.
bench-standings: install
	$(BIN)/python tests/performance/standings.py --page

# docs/benchmarks.md, kept trainings against training every setting: hours at first, then only what is not done yet.
bench-two-speeds: install
	$(BIN)/python tests/performance/two_speeds.py --workers 2
	$(BIN)/python tests/performance/two_speeds.py --report --page

# docs/benchmarks.md, what tuning is worth, next to rivals: hours at first, then only what is not done yet.
bench-tuning: install .venv-priorband/.installed
	$(BIN)/python tests/performance/tuning/run.py --workers 2
	$(BIN)/python tests/performance/tuning/run.py --report --page

# Tables of real trials, on which rules of tuning are compared, and what cards may learn from them; likewise.
tuning-tables: install
	$(BIN)/python tests/performance/tuning/collect.py
	$(BIN)/python tests/performance/tuning/starts.py
	$(BIN)/python tests/performance/tuning/learn.py

# Rivals whose pins clash with Gentune's, each in an environment of its own: PriorBand needs an older pandas and botorch,
# SMAC3 an older scikit-learn, HEBO an older pymoo.
rivals: $(addsuffix /.installed,$(RIVALS))

.venv-priorband/.installed:
	$(PYTHON) -m venv .venv-priorband
	.venv-priorband/bin/pip install --quiet torch==2.13.0 'pandas<3' neural-pipeline-search==0.17.0
	touch $@

.venv-smac/.installed:
	$(PYTHON) -m venv .venv-smac
	.venv-smac/bin/pip install --quiet smac==2.4.0 'scikit-learn<1.8'
	touch $@

# pymoo 0.5 asks for old packages that it does not need here.
.venv-hebo/.installed: constraints.txt
	$(PYTHON) -m venv .venv-hebo
	.venv-hebo/bin/pip install --quiet --constraint constraints.txt HEBO==0.3.2
	.venv-hebo/bin/pip install --quiet --no-deps pymoo==0.5.0
	touch $@

# docs/benchmarks.md, the proposal engine next to its rivals, likewise. Tasks of LCBench need GENTUNE_TASKS.
bench-proposals: install rivals
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,rivals]'
	$(BIN)/python tests/performance/proposals/run.py --workers 2
	$(BIN)/python tests/performance/proposals/run.py --workers 2 --methods $(ABLATIONS) --seeds 5
	$(BIN)/python tests/performance/proposals/choose.py --variants gentune,$(ABLATIONS) --rivals tpe,tpe_5,gp,gp_5,ax,hebo,smac \
	  --seeds 5 --json runs/proposals/left_out.json
	$(BIN)/python tests/performance/proposals/two_objectives.py --workers 2
	$(BIN)/python tests/performance/proposals/two_objectives.py --report
	$(BIN)/python tests/performance/proposals/warm_start.py --workers 2
	$(BIN)/python tests/performance/proposals/warm_start.py --report
	$(BIN)/python tests/performance/proposals/ask_time.py
	$(BIN)/python tests/performance/proposals/run.py --report --page --methods random,tpe,tpe_5,gp,gp_5,ax,hebo,smac,gentune,$(ABLATIONS)

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
