"""Proximal maps and the unrolled proximal-gradient network that they sit in."""

from flowsearch.models.prox import GlowProx, ProximalMap, ResNetProx, UNetProx
from flowsearch.models.unrolled import Unrolled

__all__ = ["GlowProx", "ProximalMap", "ResNetProx", "UNetProx", "Unrolled"]
