"""Benchmarks: every kernel beside its best rival, in one run."""
