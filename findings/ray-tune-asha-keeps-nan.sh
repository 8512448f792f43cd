#!/bin/bash
# Ray Tune 2.60.0: successive halving never stops a trial whose loss is nan.
#
# Eight trials report a loss at each of 16 iterations to an ASHAScheduler (mode min, halving from
# the first iteration on). Trial 0 is the best, one trial has diverged and reports nan, six are
# healthy and worse. The six are stopped after one iteration; the diverged one is trained to its
# end, as is the best: a comparison with nan is false, so it is never below the cut-off. Nothing is
# said. A search over learning rates spends most of its time on those that broke, unless the
# trainable reports a large number in place of nan. (The best trial is still named rightly.)
#
# Seen on an AMD EPYC, November 2026; iterations of each trial:
#   best: 16; diverged: 16; healthy and worse: 1, 1, 1, 1, 1, 1
#
# Ends with 0 if that is seen again, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check "ray[tune]==2.60.0"
cd "$folder"
cat > halving.py <<'PYTHON'
import math
import sys

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

BEST, DIVERGED, ITERATIONS = 0, 3, 16


def report_losses(config: dict[str, int]) -> None:
    trial = config["trial"]
    for iteration in range(1, ITERATIONS + 1):
        loss = math.nan if trial == DIVERGED else trial / 10 + 1 / iteration
        tune.report({"loss": loss})


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
tuner = tune.Tuner(
    report_losses,
    param_space={"trial": tune.grid_search(list(range(8)))},
    tune_config=tune.TuneConfig(
        metric="loss",
        mode="min",
        max_concurrent_trials=1,
        scheduler=ASHAScheduler(max_t=ITERATIONS, grace_period=1, reduction_factor=2),
    ),
    run_config=tune.RunConfig(verbose=0, storage_path=sys.argv[1]),
)
ran = {r.config["trial"]: r.metrics["training_iteration"] for r in tuner.fit()}
ray.shutdown()
worse = [ran[trial] for trial in range(8) if trial not in (BEST, DIVERGED)]
print(f"iterations: best {ran[BEST]}; diverged {ran[DIVERGED]}; healthy and worse {worse}")
sys.exit(not (ran[DIVERGED] == ITERATIONS and max(worse) < ITERATIONS))
PYTHON
"$folder/venv/bin/python" halving.py "$folder/results"
