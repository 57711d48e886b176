# shellcheck shell=bash
# To be sourced: `mps_start` and `mps_stop` for NVIDIA's MPS, which lets kernels of several processes run at once.
mps=$(command -v nvidia-cuda-mps-control || true)

mps_start() {
  if [ -z "$mps" ]; then
    echo "no MPS on this machine: trials run without it" >&2
    return
  fi
  export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps CUDA_MPS_LOG_DIRECTORY=/tmp/mps-log
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
  "$mps" -d || echo "MPS was not started: it may be running already" >&2
}

mps_stop() {
  [ -z "$mps" ] || echo quit | "$mps" || echo "MPS was not stopped: it may not have been started" >&2
  unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
}
