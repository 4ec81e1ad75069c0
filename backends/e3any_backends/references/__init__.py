"""References of operations, using only the array API.

Every function here is the specification of an operation of :class:`e3any_backends.generic.Backend`, and its fallback.
Kernels and the code for one library are tested against it. The first argument is the
:class:`~e3any_backends.arrays.Arrays` of the library that computes.
"""
