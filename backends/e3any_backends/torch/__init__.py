"""The backend for PyTorch."""
