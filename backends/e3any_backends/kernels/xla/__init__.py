"""Kernels as C functions that XLA calls on CPUs."""
