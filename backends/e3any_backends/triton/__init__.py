"""Kernels for GPUs in Triton, generated from the tables that kernels for CPUs read. Nothing here imports a framework.

Triton is imported when the first kernel is loaded; see docs/gpu_kernels.md.
"""
