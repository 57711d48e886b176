"""Normalizing flows: Glow, its layers and likelihoods (paper sections IV-A and V)."""

from flowsearch.flows.coupling import AffineCoupling
from flowsearch.flows.glow import Glow
from flowsearch.flows.layers import ActNorm, InvertibleConv1x1, Split, Squeeze
from flowsearch.flows.likelihood import bits_per_dim, dequantize, normal_log_prob
from flowsearch.flows.steps import FlowStep, Level

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "FlowStep",
    "Glow",
    "InvertibleConv1x1",
    "Level",
    "Split",
    "Squeeze",
    "bits_per_dim",
    "dequantize",
    "normal_log_prob",
]
