"""Other libraries. Every file has a function of the task for each operation that its library has."""
