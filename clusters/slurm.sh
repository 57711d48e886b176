#!/bin/bash
# A study on a Slurm cluster: Ray over the nodes of one job, its head on the first of them. Once, in your checkout:
#
#   python3 -m venv .venv && .venv/bin/pip install -e '.[cluster]'
#
# and for each study, with more options of `flowsearch study run` where you need them:
#
#   sbatch clusters/slurm.sh studies/ablation.yaml --results /shared/results
#
# Five minutes before its time limit the job interrupts the study in order, queues itself again, and goes on. What you
# may want to change is here, down to `activate`; your cluster may ask for --partition and --account, too.
#SBATCH --job-name=flowsearch
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
source .venv/bin/activate # from the folder in which sbatch was run
set -euo pipefail

# In an array, the bare number of its last task would stand for all of them.
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
trap 'scontrol requeue "$job"' USR1
ulimit -Sn hard
export RAY_AUTH_MODE=token
ray get-auth-token --generate > /dev/null # made once, below your home, which all nodes see
chmod -f 600 ~/.ray/auth_token || true    # Ray lets everyone read it who can look into your home
export RAY_memory_monitor_refresh_ms=0    # Slurm watches the memory; Ray would count that of others' jobs

# Ray on this node: its folder, then more options. Ports are free ones, as others may have a Ray here too.
node() {
  exec ray start --block --temp-dir="$1" --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
    --object-store-memory=$((256 << 20)) --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0 \
    --disable-usage-stats "${@:2}"
}
worker() {
  trap : TERM # Ray gets it too
  scratch=$(mktemp -d /tmp/fs-XXXXXX)
  (node "$scratch" --address="$1")
  rm -rf "$scratch"
}
export -f node worker

# The head's address is the one from which it reaches the last node.
last=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | tail -n 1)
ip=$(python -c 'import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM); s.connect((sys.argv[1], 9)); print(s.getsockname()[0])' "$last")
scratch=$(mktemp -d /tmp/fs-XXXXXX)
node "$scratch" --head --node-ip-address="$ip" --port=0 --ray-client-server-port=$((20000 + SLURM_JOB_ID % 10000)) \
  --include-dashboard=false > /dev/null & head=$!
until [ -s "$scratch/ray_current_cluster" ]; do kill -0 "$head"; sleep 1; done
address=$(< "$scratch/ray_current_cluster")

others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then
  srun --nodes="$others" --ntasks="$others" --relative=1 --cpu-bind=none --wait=0 \
    bash -c "worker $address" > /dev/null &
fi
for _ in {1..60}; do # a node that comes later, or never, does not hold the study up
  [ "$(ray status --address "$address" | grep -c '^ 1 node_')" -lt "$SLURM_JOB_NUM_NODES" ] || break
  sleep 2
done

flowsearch study run "$@" --address "$address" --plain & study=$!
# They may come after its end, when there is nothing to do any more.
trap 'if kill -TERM "$study" 2> /dev/null; then again=yes; fi' USR1
trap 'kill -TERM "$study" 2> /dev/null || true' TERM
until wait "$study"; code=$?; ! kill -0 "$study" 2> /dev/null; do :; done # a signal ends `wait`, not the study

{ scancel --signal=TERM "$SLURM_JOB_ID.0"; kill "$head"; } 2> /dev/null || true
until wait; do :; done
rm -rf "$scratch"
if [ "${again:-}" ] && [ "$code" != 0 ]; then scontrol requeue "$job"; fi
exit "$code"
