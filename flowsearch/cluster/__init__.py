"""Clusters: files that start one, checked; studies submitted to one. Ray is imported where it is used."""
