"""Means and differences with their intervals, and the correction over many of them. Numbers in, numbers out."""

from flowsearch.statistics.correction import holm
from flowsearch.statistics.interval import LEVEL, Interval, stratified_difference, student_interval, welch_difference
from flowsearch.statistics.two_level import two_level, two_level_difference

__all__ = [
    "LEVEL",
    "Interval",
    "holm",
    "stratified_difference",
    "student_interval",
    "two_level",
    "two_level_difference",
    "welch_difference",
]
