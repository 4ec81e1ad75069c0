"""Other libraries. Every file has a function for each task that its library can do; it takes the task."""
