"""The quickstart's Glow trials trained by each memory mode and precision: PSNR, time, peak memory, as a Markdown table.

python tests/benchmarks/memory_modes.py
"""

import torch

from flowsearch.data import DataConfig
from flowsearch.flows.bfloat16 import has_bfloat16
from flowsearch.training import PriorConfig, TrialConfig, run_trial


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    ways = [("fp32", memory) for memory in ("invertible", "networks", "checkpoint", "autograd")]
    ways += [("bf16", "invertible"), ("bf16", "autograd")] if has_bfloat16("cpu") else []
    print("| pre-trained | precision | memory | validation PSNR (dB) | training (s) | peak memory (MB) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for pretrain in (True, False):
        for precision, memory in ways:
            config = TrialConfig(
                data=DataConfig(size=32, train=400, val=64, test=64),
                prior=PriorConfig(epochs=4, lr=3e-3),
                task="denoise-0.2",
                prox="glow",
                folds=2,
                depth=4,
                levels=2,
                last_depth=2,
                hidden=48,
                pretrain=pretrain,
                epochs=6,
                lr=2e-3,
                memory=memory,
                precision=precision,
            )
            final = list(run_trial(config, device="cpu"))[-1]
            cells = (
                f"{final['val_psnr']:.3f}",
                f"{final['train_seconds']:.1f}",
                f"{final['peak_memory_bytes'] / 1e6:.0f}",
            )
            print(f"| {'yes' if pretrain else 'no'} | {precision} | {memory} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
