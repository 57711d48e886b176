#!/usr/bin/env bash
# A task of table I at the paper's size on one GPU, two trials at a time under NVIDIA's MPS: ResNet, U-Net, and the Glow
# pre-trained and not, K = 5, 22 epochs (gpu.md, Done 9 and 11). CelebA, FFHQ and anime faces have to be prepared at 64.
#
#     tests/benchmarks/gpu/full_size.sh OUT inpaint-19 0.12 [--set ...]   # folder, task, hours until it stops in order
#
# OUT gets NAME.tar.xz, all but the weights, also where trials failed or it was interrupted; the study itself stays in
# results/ and is gone on with by the same command. Trailing settings make it small enough to be tried on a CPU:
#
#     --set data.train=32 --set data.val=8 --set data.test=8 --set data.ood=null --set fixed.folds=2 --set fixed.depth=2
#     --set fixed.levels=2 --set fixed.hidden=16 --set fixed.features=16 --set fixed.channels=8 --set fixed.epochs=4
#     --set prior.epochs=2 --set 'resources={cpu: 1, gpu: 0}'
set -euo pipefail
cd "$(dirname "$0")/../../.."
out=$1 task=$2 hours=$3
shift 3
name=full-$task
source tests/benchmarks/gpu/mps.sh
mps_start
status=0
if [ -e "results/$name/study.yaml" ]; then
  flowsearch study resume "results/$name" --set "budget.hours=$hours" || status=$?
else
  flowsearch study run studies/table1.yaml --profile celeba --name "$name" --set "tasks=[$task]" \
    --set "budget={hours: $hours}" --set 'space.prox=[resnet, unet, glow]' --set fixed.pretrain=null \
    --set 'space.pretrain={choice: [true, false], when: {prox: glow}}' --set fixed.epochs=22 --set fixed.patience=null \
    --set fixed.lr=1e-3 --set fixed.batch_size=16 --set fixed.precision=bf16 --set fixed.memory=networks \
    --set fixed.start=adjoint --set fixed.decay=cosine --set prior.epochs=16 --set prior.lr=1e-3 \
    --set prior.batch_size=32 --set prior.noise=0.1 --set 'resources={cpu: 4, gpu: 0.5}' "$@" || status=$?
fi
mkdir -p "$out"
[ ! -e "results/$name" ] || tar -cJf "$out/$name.tar.xz" -C results --exclude '*.safetensors' "$name"
exit "$status"
