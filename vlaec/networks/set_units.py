"""Units and bounds of set models, for the networks in torch and for the exact ones in numpy."""

from __future__ import annotations

# z is on an integer grid; networks read and write it in units of this many cells.
LATENT_UNIT = 16.0
# Log of the scale that an untrained prior and posterior have, in cells of the grid.
LOG_SCALE_START = 2.5

# Colour values enter and leave the network in units of 64 levels around the middle, 127.5.
LEVEL_UNIT = 64.0
MIDDLE = 127.5
# Weights of red, green and blue in the grey value of a context (ITU-R BT.601, in 1/65536).
GREY = (19595 / 65536, 38470 / 65536, 7471 / 65536)

LOGIT_BOUND = 12.0
# Logistics: means in units of LEVEL_UNIT around the middle; log of the scale in levels.
MEAN_BOUND = 4.0
LEVEL_LOG_MIN = -2.25
LEVEL_LOG_MAX = 4.125
LEVEL_LOG_START = 2.5
COEFFICIENT_BOUND = 2.0
