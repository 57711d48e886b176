"""Benchmarks: what a training step costs in time and memory, and how that compares with other code in the same run."""
