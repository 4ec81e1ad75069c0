"""Machine code: how kernels are compiled, and what they are made of."""
