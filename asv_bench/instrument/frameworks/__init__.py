"""Programs in NumPy, JAX and PyTorch, and e3any in each of them. A framework is imported with its file."""
