"""Gaussians of integers, exact: means on a 1/16 grid, standard deviations from a table."""

from __future__ import annotations

import math

import numpy as np

# Scales are exp(SCALE_LOG_MIN + i / SCALE_STEPS) for table index i in 0..SCALE_COUNT - 1.
SCALE_COUNT = 64
SCALE_STEPS = 8
SCALE_LOG_MIN = -2.25
SCALE_LOG_MAX = SCALE_LOG_MIN + (SCALE_COUNT - 1) / SCALE_STEPS
# The posterior of a latent that is coded with bits-back is never narrower than two steps of its
# integer grid, so that rounding to that grid costs next to nothing.
HYPER_LOG_MIN = 0.75
# Latents are integers within +-LATENT_BOUND.
LATENT_BOUND = 1023
MEAN_GRID = 16.0
# constriction gives no symbol less than 2^-24.
MAX_BITS = 24.0
# A Gaussian's entropy in bits is log2 of its standard deviation and this: log2(sqrt(2 pi e)).
ENTROPY_OF_UNIT = 0.5 * math.log2(2 * math.pi * math.e)

# exp(-2.25 + i / 8) in units of 2^-16, as constants: no two libraries need agree on exp.
# fmt: off
SCALES = np.array([
    6907, 7827, 8869, 10050, 11388, 12905, 14623, 16570, 18776, 21276, 24109, 27319, 30957,
    35079, 39750, 45042, 51039, 57835, 65536, 74262, 84150, 95354, 108051, 122437, 138740,
    157213, 178145, 201865, 228743, 259200, 293712, 332819, 377134, 427348, 484249, 548726,
    621788, 704578, 798392, 904697, 1025156, 1161653, 1316326, 1491592, 1690196, 1915243,
    2170254, 2459220, 2786662, 3157701, 3578144, 4054569, 4594428, 5206169, 5899363, 6684854,
    7574932, 8583522, 9726405, 11021461, 12488951, 14151835, 16036130, 18171316,
]) / 2.0**16

# Rational approximations of the error function in double precision (Cephes, S. Moshier): erf below
# 1, erfc from 1 to 8 and above. Highest powers first.
_ERF = ([9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3,
         7.00332514112805075473e3, 5.55923013010394962768e4],
        [1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3,
         2.26290000613890934246e4, 4.92673942608635921086e4])
_ERFC_MIDDLE = ([2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0,
                 4.86371970985681366614e1, 1.96520832956077098242e2, 5.26445194995477358631e2,
                 9.34528527171957607540e2, 1.02755188689515710272e3, 5.57535335369399327526e2],
                [1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2,
                 9.75708501743205489753e2, 1.82390916687909736289e3, 2.24633760818710981792e3,
                 1.65666309194161350182e3, 5.57535340817727675546e2])
_ERFC_FAR = ([5.64189583547755073984e-1, 1.27536670759978104416e0, 5.01905042251180477414e0,
              6.16021097993053585195e0, 7.40974269950448939160e0, 2.97886665372100240670e0],
             [1.0, 2.26052863220117276590e0, 9.39603524938001434673e0, 1.20489539808096656605e1,
              1.70814450747565897222e1, 9.60896809063285878198e0, 3.36907645100081516050e0])
# fmt: on


class Gaussians:
    """Parameters of independent Gaussians, exact and small in memory."""

    def __init__(
        self, mean: np.ndarray, log_scale: np.ndarray, log_min: float = SCALE_LOG_MIN
    ) -> None:
        """From network outputs of equal shape, float64 on the activation grid."""
        # Multiples of 1/16 below 2^20 lose nothing as float32.
        self._means = (np.rint(mean * MEAN_GRID) / MEAN_GRID).astype(np.float32)
        lowest = round((log_min - SCALE_LOG_MIN) * SCALE_STEPS)
        index = np.rint((log_scale - SCALE_LOG_MIN) * SCALE_STEPS)
        self.indices = np.clip(index, lowest, SCALE_COUNT - 1).astype(np.uint8)

    @classmethod
    def join(cls, parts: list[Gaussians]) -> Gaussians:
        """All of `parts`, one after the other along the last axis."""
        joined = cls.__new__(cls)
        joined._means = np.concatenate([part._means for part in parts], -1)
        joined.indices = np.concatenate([part.indices for part in parts], -1)
        return joined

    def __getitem__(self, part: slice) -> Gaussians:
        """Some of them, by the first axis."""
        subset = Gaussians.__new__(Gaussians)
        subset._means, subset.indices = self._means[part], self.indices[part]
        return subset

    def take(self, places: np.ndarray | tuple[np.ndarray, ...]) -> Gaussians:
        """Those at `places`, as numpy takes indices."""
        subset = Gaussians.__new__(Gaussians)
        subset._means, subset.indices = self._means[places], self.indices[places]
        return subset

    def columns(self, start: int, stop: int) -> Gaussians:
        """Some of them, by the last axis."""
        subset = Gaussians.__new__(Gaussians)
        subset._means, subset.indices = self._means[..., start:stop], self.indices[..., start:stop]
        return subset

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `means`."""
        return self._means.shape

    @property
    def means(self) -> np.ndarray:
        """Means, float64."""
        return self._means.astype(np.float64)

    @property
    def scales(self) -> np.ndarray:
        """Standard deviations, float64, of the shape of `means`."""
        scales: np.ndarray = SCALES[self.indices]
        return scales

    @property
    def log_scales(self) -> np.ndarray:
        """Logarithms of `scales`; only for what shapes the picture, not for coding."""
        values: np.ndarray = SCALE_LOG_MIN + self.indices / SCALE_STEPS
        return values


def gaussian_bits(symbols: np.ndarray, gaussians: Gaussians) -> np.ndarray:
    """-log2 of the mass of unit cells around integers, elementwise, as the coder charges it."""
    return cell_bits(symbols, gaussians.means, gaussians.scales)


def cell_bits(symbols: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """As `gaussian_bits`, from arrays of one shape."""
    mass = cell_mass(np.abs(symbols - means), scales)
    bits: np.ndarray = -np.log2(np.maximum(mass, 2.0**-MAX_BITS))
    return bits


def cell_mass(distance: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Mass of a unit cell whose middle is `distance` >= 0 from the mean, float64."""
    upper, lower = (normal_cdf((edge - distance) / scales) for edge in (0.5, -0.5))
    mass: np.ndarray = upper - lower
    return mass


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """The standard normal distribution function, elementwise, to about 1e-15 of its value."""
    x = np.asarray(x, np.float64)
    tail = 0.5 * _erfc(np.abs(x) * np.sqrt(0.5))
    return np.where(x < 0, tail, 1 - tail)


def _erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x) for x >= 0, elementwise."""
    flat = x.ravel()
    out = np.empty_like(flat)
    near, far = flat < 1, flat >= 8
    middle = ~(near | far)
    part = flat[near]
    out[near] = 1 - part * _ratio(part * part, *_ERF)
    for where, coefficients in ((middle, _ERFC_MIDDLE), (far, _ERFC_FAR)):
        part = np.minimum(flat[where], 40)  # exp gives 0 beyond
        out[where] = np.exp(-part * part) * _ratio(part, *coefficients)
    return out.reshape(x.shape)


def _ratio(x: np.ndarray, above: list[float], below: list[float]) -> np.ndarray:
    """Quotient of two polynomials."""
    parts = []
    for coefficients in (above, below):
        total = np.full_like(x, coefficients[0])
        for coefficient in coefficients[1:]:
            total *= x
            total += coefficient
        parts.append(total)
    quotient: np.ndarray = parts[0] / parts[1]
    return quotient
