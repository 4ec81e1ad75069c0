"""Machine code of kernels: compilers, and the instructions that kernels consist of."""
