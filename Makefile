# Each target does its own set-up: `.venv` from requirements.lock, remade only when the lock
# changes. Needed: make, a C compiler and Python 3.11 or later (PYTHON=... names another one).

SUITABLE = for python in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$python"; break; }; done
PYTHON ?= $(shell $(SUITABLE))
BIN := .venv/bin
BUDGET ?= 80s
SECONDS_OF_FUZZ ?= 60

# The C library's driver (tests/kernels/c), built below build/ by .venv's cmake; an argument names the
# folder there. Three threads share two cores, so none of them spins.
DRIVER = cmake --build build/$(1) --target ravine_kernels_driver -- --quiet && OMP_WAIT_POLICY=passive
CONFIGURE = PATH="$(CURDIR)/$(BIN):$$PATH" && cmake -G Ninja -S . -DRAVINE_DRIVER=ON -B build/$(1) $(2) >/dev/null
SANITIZERS := -fsanitize=address,undefined
ARM := aarch64-linux-gnu

.PHONY: help setup demo test test-slow lint sanitize driver emulate-arm fuzz check format bench bench-all bench-optim bench-faults bench-fuzz bench-kills leaderboard journal recipes claims kernels lock map docs wheel pictures

help:
	@echo 'make demo      train on the shipped sample for $(BUDGET) and write a report'
	@echo 'make test      run the tests, but for the slow ones'
	@echo 'make test-slow run those that kill, race, or start processes and interpreters'
	@echo 'make lint      ruff, mypy, import-linter'
	@echo 'make sanitize  check the C library under the address and undefined-behaviour sanitizers'
	@echo 'make driver    the same checks of the C library as it is shipped, without sanitizers'
	@echo 'make emulate-arm  the same for 64-bit ARM, under qemu'
	@echo 'make fuzz      odd inputs for a minute: no traceback, no hang'
	@echo 'make check     fuzz, docs, lint, sanitize, test and test-slow (notebooks too): what CI runs'
	@echo 'make format    let ruff mend what it can'
	@echo 'make bench     measure training speed against torch and the machine, about 15 minutes'
	@echo 'make bench-all measure what the README claims, about an hour: FASHION=FOLDER CIFAR=FILE'
	@echo 'make bench-optim  measure the optimizer steps against torch.optim, some minutes'
	@echo 'make bench-faults  diagnose healthy and broken runs, half an hour: CIFAR=FILE'
	@echo 'make bench-fuzz  3,000 odd inputs in groups, an hour or two'
	@echo 'make leaderboard  a row of docs/leaderboard.md: FASHION=FOLDER CIFAR=FOLDER PEERS=PYTHON ROWS=...'
	@echo 'make journal   the races of docs/journal.md that are missing: FASHION=FOLDER CIFAR=FOLDER'
	@echo 'make claims    what is said about wide networks, by races, an hour: FASHION=FOLDER CIFAR=FOLDER'
	@echo 'make recipes   measure which network a budget gets, where that is missing: FASHION=FOLDER CIFAR=FOLDER'
	@echo 'make bench-kills  1,000 kills at random instants, some hours'
	@echo 'make kernels   write the update rules in C and Triton again'
	@echo 'make map       write docs/map.md and docs/api/, the lists of files and names, again'
	@echo 'make docs      build the site of docs/ into build/site; warnings are errors'
	@echo 'make wheel     a wheel for this system into dist/, as an index takes it: URL=address of the sources'
	@echo 'make lock      pin the newest versions that fit pyproject.toml'
	@echo 'make pictures  draw the pictures of docs/ again'
	@echo 'make page-pictures RUNS=folder  take those of the pages, in headless Chromium'
	@echo 'make schema    write docs/json-stream.schema.json again'

setup:
	@$(or $(PYTHON),$(error Ravine needs Python 3.11 or later; make PYTHON=/path/to/python3.11 names one)) \
	scripts/setup_venv.py

demo: setup
	@$(BIN)/ravine train @fashion --budget $(BUDGET) --out "runs/demo-$$(date +%Y%m%d-%H%M%S)"

# One thread a worker: more of them only wait for each other on the tiny tensors of tests, and
# where a test asks for two, they are not to spin. A worker keeps to its part of the files, which
# trains what the tests of a file share once, until another has nothing left to do.
PYTEST = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive \
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

test: setup
	@$(PYTEST) -m 'not slow'

test-slow: setup
	@$(PYTEST) -m slow $$(grep -rl mark.slow tests --include='*.py' | sort)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

sanitize: setup
	@mkdir -p build; if echo 'int main(void) { return 0; }' | \
		$(CC) $(SANITIZERS) -x c - -o build/has-sanitizers 2>/dev/null; then \
	$(call CONFIGURE,sanitize,-DRAVINE_SANITIZE=ON -DCMAKE_C_COMPILER=$(CC)) && \
	$(call DRIVER,sanitize) build/sanitize/ravine_kernels_driver; \
	else echo 'make sanitize: skipped, as $(CC) does not link $(SANITIZERS); make driver runs without'; fi

driver: setup
	@$(call CONFIGURE,driver,-DCMAKE_C_COMPILER=$(CC)) && \
	$(call DRIVER,driver) MALLOC_PERTURB_=1 build/driver/ravine_kernels_driver

emulate-arm: setup
	@for NEEDED in $(ARM)-gcc qemu-aarch64; do command -v $$NEEDED >/dev/null || { echo \
	"make emulate-arm: no $$NEEDED; Debian and Ubuntu: apt install gcc-$(ARM) qemu-user"; exit 2; }; done
	@$(call CONFIGURE,arm,-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
		-DCMAKE_C_COMPILER=$(ARM)-gcc) && \
	$(call DRIVER,arm) MALLOC_PERTURB_=1 qemu-aarch64 -L /usr/$(ARM) build/arm/ravine_kernels_driver

# The same inputs each time: the seed is the corpus.
fuzz: setup
	@OMP_NUM_THREADS=1 $(BIN)/python bench/fuzz.py --seconds $(SECONDS_OF_FUZZ)

# The site is built while packages are installed, and the linters run beside the odd inputs, which
# use one core for a minute. Sanitizers, built on all cores, come after these; so do the tests.
check:
	@$(MAKE) -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) --no-print-directory fuzz docs lint sanitize
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-slow

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup
	@$(BIN)/python bench/speed.py

bench-all: setup
	@$(if $(and $(FASHION),$(CIFAR)),,$(error name the data: make bench-all FASHION=folder CIFAR=file.tar.gz))
	@$(BIN)/python bench/run_all.py "$(FASHION)" "$(CIFAR)"

bench-optim: setup
	@$(BIN)/python bench/optim.py

bench-faults: setup
	@$(if $(CIFAR),,$(error name the data: make bench-faults CIFAR=file.tar.gz))
	@$(BIN)/python bench/faults/run.py --cifar "$(CIFAR)"

bench-fuzz: setup
	@OMP_NUM_THREADS=1 $(BIN)/python bench/fuzz.py --first 10000 --cases 231 --keep

bench-kills: setup
	@OMP_NUM_THREADS=1 $(BIN)/python bench/kills.py --kills 1000

# Without ROWS: 2 minutes on four data sets, an hour and a half and more. It goes on where it stopped.
leaderboard: setup
	@$(if $(and $(FASHION),$(CIFAR),$(PEERS)),,$(error name the data and the peers: make leaderboard \
		FASHION=folder CIFAR=folder PEERS=python-with-bench/peers/requirements.txt))
	@$(BIN)/python bench/leaderboard.py --fashion "$(FASHION)" --cifar "$(CIFAR)" --peers "$(PEERS)" $(ROWS)

journal: setup
	@$(if $(and $(FASHION),$(CIFAR)),,$(error name the data: make journal FASHION=folder CIFAR=folder))
	@$(BIN)/python bench/journal.py --fashion "$(FASHION)" --cifar "$(CIFAR)" $(ROWS)

claims: setup
	@$(if $(and $(FASHION),$(CIFAR)),,$(error name the data: make claims FASHION=folder CIFAR=folder))
	@$(BIN)/python bench/claims.py --fashion "$(FASHION)" --cifar "$(CIFAR)" $(ROWS)

recipes: setup
	@$(if $(and $(FASHION),$(CIFAR)),,$(error name the data: make recipes FASHION=folder CIFAR=folder))
	@$(BIN)/python bench/recipes.py --fashion "$(FASHION)" --cifar "$(CIFAR)" $(ROWS)

kernels: setup
	@$(BIN)/python scripts/make_kernels.py

map: setup
	@$(BIN)/python scripts/make_map.py
	@$(BIN)/python scripts/make_api_pages.py

docs:
	@$(PYTHON) scripts/make_docs.py

wheel: setup
	@$(BIN)/python scripts/make_wheel.py "$(URL)"

lock:
	@$(PYTHON) scripts/make_lock.py

pictures: setup
	@$(BIN)/python docs/make_pictures.py

page-pictures: setup
	@$(if $(RUNS),,$(error name a folder of runs: make page-pictures RUNS=runs))
	@$(BIN)/python docs/make_page_pictures.py "$(RUNS)"

schema: setup
	@$(BIN)/python scripts/make_schema.py
