"""Tables that operations read: couplings, matrices, recursions. This package imports nothing but NumPy."""
