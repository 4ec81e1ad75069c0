"""A differential fuzzer: random calls of the library, compared with reference forms. ``python -m fuzz --help``."""
