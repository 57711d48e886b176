"""Proximal maps, the unrolled proximal-gradient network that they sit in, and solvers to compare it with."""

from flowsearch.models.classical import Adjoint, Measurement, TotalVariation
from flowsearch.models.feedforward import Feedforward
from flowsearch.models.latent_map import LatentMap
from flowsearch.models.own_prox import OwnProx
from flowsearch.models.plug_and_play import Denoiser, PlugAndPlay
from flowsearch.models.prox import GlowProx, ProximalMap, ResNetProx, ScoreProx, UNetProx
from flowsearch.models.unrolled import Unrolled

__all__ = [
    "Adjoint",
    "Denoiser",
    "Feedforward",
    "GlowProx",
    "LatentMap",
    "Measurement",
    "OwnProx",
    "PlugAndPlay",
    "ProximalMap",
    "ResNetProx",
    "ScoreProx",
    "TotalVariation",
    "UNetProx",
    "Unrolled",
]
