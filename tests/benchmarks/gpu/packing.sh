#!/usr/bin/env bash
# Four small ResNets on one GPU: side by side under NVIDIA's MPS, a quarter each, then one after another. Prints the
# seconds of each, from the first start to the last end, and of training, and their ratios.
#
#     tests/benchmarks/gpu/packing.sh OUT [EPOCHS] [--set ...]      # OUT/results gets both studies; 300 epochs by default
set -euo pipefail
cd "$(dirname "$0")/../../.."
out=$1 epochs=${2:-300}
shift $(($# < 2 ? $# : 2))

pack() {
  flowsearch study run tests/benchmarks/packing.yaml --results "$out/results" --name "$1" --set "fixed.epochs=$epochs" \
    --set fixed.prox=resnet --set fixed.features=48 --set fixed.depth=null --set fixed.levels=null \
    --set fixed.last_depth=null --set fixed.hidden=null --set fixed.pretrain=null "${@:2}"
}

mkdir -p "$out"
mps=$(command -v nvidia-cuda-mps-control || true)
if [ -n "$mps" ]; then
  export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps CUDA_MPS_LOG_DIRECTORY=/tmp/mps-log
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
  "$mps" -d
fi
pack together --set 'resources={cpu: 2, gpu: 0.25}' "$@"
if [ -n "$mps" ]; then
  echo quit | "$mps"
  unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
else
  echo "no MPS on this machine: the four ran without it" >&2
fi
pack apart --set 'resources={cpu: 2, gpu: 1}' "$@"

python3 - "$out" <<'PYTHON'
import json
import sys

import pandas as pd

out = sys.argv[1]
told = {}
for name in ("together", "apart"):
    trials = pd.read_parquet(f"{out}/results/{name}/trials")
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
