#!/usr/bin/env bash
# Four small ResNets on one GPU: side by side under NVIDIA's MPS, a quarter each, then one after another. Prints the
# seconds of each, from the first start to the last end, and of training, and their ratios.
#
#     tests/benchmarks/gpu/packing.sh OUT [EPOCHS] [--set ...]      # 300 epochs by default
#
# OUT gets packing.json and, as soon as each has ended, both studies as NAME.tar.xz. They stay in results/: what has
# ended is not measured again before `rm -r results/packing-*`. On a CPU: 2 epochs and --set 'resources={cpu: 1, gpu: 0}'.
set -euo pipefail
cd "$(dirname "$0")/../../.."
out=$1 epochs=${2:-300}
shift $(($# < 2 ? $# : 2))

source tests/benchmarks/gpu/mps.sh

pack() {
  flowsearch study run tests/benchmarks/packing.yaml --name "packing-$1" --set "fixed.epochs=$epochs" \
    --set fixed.prox=resnet --set fixed.features=48 --set fixed.depth=null --set fixed.levels=null \
    --set fixed.last_depth=null --set fixed.hidden=null --set fixed.pretrain=null "${@:2}"
  tar -cJf "$out/packing-$1.tar.xz" -C results --exclude '*.safetensors' "packing-$1"
}

mkdir -p "$out"
mps_start
pack together --set 'resources={cpu: 2, gpu: 0.25}' "$@"
mps_stop
pack apart --set 'resources={cpu: 2, gpu: 1}' "$@"

python3 - "$out" <<'PYTHON'
import json
import sys

import pandas as pd

out = sys.argv[1]
told = {}
for name in ("together", "apart"):
    trials = pd.read_parquet(f"results/packing-{name}/trials")
    assert (trials.status == "completed").all() and len(trials) == 4, trials[["trial_id", "status", "reason"]]
    told[name] = {
        "seconds": (trials.ended.max() - trials.started.min()).total_seconds(),
        "first_trial_seconds": float(trials.sort_values("started").seconds.iloc[0]),
        "train_seconds": sorted(trials.train_seconds.round(1)),
        "test_psnr": sorted(trials.test_psnr.round(4)),
    }
told["ratio"] = told["apart"]["seconds"] / told["together"]["seconds"]
told["train_ratio"] = sum(told["apart"]["train_seconds"]) / max(told["together"]["train_seconds"])
print(json.dumps(told, indent=1))
with open(f"{out}/packing.json", "w") as file:
    json.dump(told, file, indent=1)
PYTHON
