"""Radial, cut-off, damping, switch and window functions, in the same files as in e3x."""

from e3any_flax.nn.functions.bernstein import *
from e3any_flax.nn.functions.chebyshev import *
from e3any_flax.nn.functions.cutoff import *
from e3any_flax.nn.functions.damping import *
from e3any_flax.nn.functions.gaussian import *
from e3any_flax.nn.functions.mappings import *
from e3any_flax.nn.functions.switch import *
from e3any_flax.nn.functions.trigonometric import *
from e3any_flax.nn.functions.window import *
