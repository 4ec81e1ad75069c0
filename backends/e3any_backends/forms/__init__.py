"""Tables that operations read: forms of couplings, matrices, recursions. NumPy alone; nothing else is imported."""
