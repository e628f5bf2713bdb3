"""Bounds of the texture's PixelCNN, which its network and its sampler share."""

from __future__ import annotations

# Residuals enter the network in units of 1/16 of the 0..255 range.
INPUT_SCALE = 16.0
# A sampler feeds on its own output, so nothing that it reads or writes may grow without bound:
# the window is clamped (to 3 of those units, 48 grey levels) and the means of the logistics are
# squashed (to 4 units, 64 grey levels).
WINDOW_BOUND = 3.0
MEAN_BOUND = 4.0
# Log of the scale of a logistic, on the [0, 1] scale of pixels: 0.1 to 21 grey levels.
LOG_SCALE_MIN = -7.8
LOG_SCALE_MAX = -2.5
LOG_SCALE_START = -4.5  # where the network says 0
# Logistic noise is cut here when sampling (1.3 % of the mass is beyond): one outlier would make
# the next context unlike anything seen in training.
NOISE_BOUND = 5.0
