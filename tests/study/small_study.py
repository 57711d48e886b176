"""A small study file that the study tests share."""

from pathlib import Path

HERE = Path(__file__).parent

TEXT = """\
name: small
data: {source: faces, size: 32}
fixed: {epochs: 4}
space:
  prox: [glow, resnet, unet]
  folds: {int: [1, 4]}
  weights: [tied, untied]
  lr: {float: [1e-4, 1.0e-3], log: true}
  depth: {int: [2, 6], when: {prox: glow}}
  levels: {int: [2, 5], when: {prox: glow}}
  pretrain: {choice: [true, false], when: {prox: glow}}
objective: {val_psnr: maximize}
search: {sampler: tpe, trials: 8, seed: 0}
scheduler: {asha: {grace: 1, reduction: 2}}
"""
