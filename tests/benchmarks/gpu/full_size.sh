#!/usr/bin/env bash
# A task of table I at the paper's size on one GPU, two trials at a time under NVIDIA's MPS: ResNet, U-Net, and the Glow
# pre-trained and not, K = 5, 22 epochs (gpu.md, Done 9 and 11). CelebA, FFHQ and anime faces have to be prepared at 64.
#
#     tests/benchmarks/gpu/full_size.sh OUT inpaint-19 0.12 [--set ...]   # folder, task, hours until it stops in order
#
# OUT gets NAME.tar.xz, all but the weights; the study itself stays in results/ and is gone on with by the same command.
set -euo pipefail
cd "$(dirname "$0")/../../.."
out=$1 task=$2 hours=$3
shift 3
name=full-$task
mps=$(command -v nvidia-cuda-mps-control || true)
if [ -n "$mps" ]; then
  export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps CUDA_MPS_LOG_DIRECTORY=/tmp/mps-log
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
  pgrep -f nvidia-cuda-mps-control > /dev/null || "$mps" -d
fi
if [ -e "results/$name/study.yaml" ]; then
  flowsearch study resume "results/$name" --set "budget.hours=$hours"
else
  flowsearch study run studies/table1.yaml --profile celeba --name "$name" --set "tasks=[$task]" \
    --set "budget={hours: $hours}" --set 'space.prox=[resnet, unet, glow]' --set fixed.pretrain=null \
    --set 'space.pretrain={choice: [true, false], when: {prox: glow}}' --set fixed.epochs=22 --set fixed.patience=null \
    --set fixed.lr=1e-3 --set fixed.batch_size=16 --set fixed.precision=bf16 --set fixed.memory=networks \
    --set fixed.start=adjoint --set fixed.decay=cosine --set prior.epochs=16 --set prior.lr=1e-3 \
    --set prior.batch_size=32 --set prior.noise=0.1 --set 'resources={cpu: 4, gpu: 0.5}' "$@"
fi
mkdir -p "$out"
tar -cJf "$out/$name.tar.xz" -C results --exclude '*.safetensors' "$name"
