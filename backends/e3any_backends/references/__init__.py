"""What operations compute, using only the array API standard.

Every function here is the specification of an operation of :class:`e3any_backends.generic.Backend`, and its fallback:
kernels, and what is written for one library, are tested against it. The first argument is an
:class:`~e3any_backends.arrays.Arrays` of the library that computes.
"""
