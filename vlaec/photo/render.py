"""Latents to pixels, band by band: of what is made at full resolution only the picture is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..threads import background
from .sampler import BAND, PIXELS_SAMPLED, TextureSampler
from .strips import LARGE, Rows

# Rows whose pixels are rounded at a time.
ROWS_FINISHED = 16
# Noise of as many rows as are sampled together, from row `top` on; see `TextureSampler.noise`.
Noise = Callable[[int], np.ndarray]


def rows_sampled(width: int) -> int:
    """Rows of a picture that are sampled together: whole bands."""
    return max(1, PIXELS_SAMPLED // (BAND * width)) * BAND


def render(
    mean: Rows,
    texture: Rows | None,
    sampler: TextureSampler,
    size: tuple[int, int],
    strength: float,
    noise: Noise,
    progress: Callable[[float], None],
) -> np.ndarray:
    """A picture [H, W, 3] uint8.

    Args:
        mean: the faithful picture, [1, 3, 16 h, 16 w].
        texture: detail [1, 3, 16 h, 16 w] and features [1, F, 16 h, 16 w]; None for none.
        sampler: texture sampler.
        size: H and W, at most 16 h and 16 w.
        strength: of the texture, 0..1.
        noise: of the texture, for the sampler.
        progress: told the share that is done.
    """
    height, width = size
    out = np.empty((height, width, 3), np.uint8)
    step = rows_sampled(width)

    def planes(network: Rows, top: int) -> Callable[[], list[np.ndarray]]:
        def made() -> list[np.ndarray]:
            rows = network.rows(top, min(top + step, height))
            return [plane[0, :, :, :width] for plane in rows]

        return made

    def sample(top: int, features: np.ndarray) -> np.ndarray:
        rows = features.shape[1]

        def share(done: float) -> None:
            progress((top + done * rows) / height)

        return sampler.sample(features, noise(top), share)

    with background(height * width <= LARGE) as start:
        ahead = texture and start(planes(texture, 0))
        for top in range(0, height, step):
            wanted = planes(mean, top)
            # Of a picture that is sampled at once the texture has all threads; the mean is made
            # beside the sampler, which has one.
            picture = start(wanted) if height > step else None
            sampled = ahead() if ahead else None
            picture, added = picture or start(wanted), None
            if texture and sampled:
                if top + step < height:
                    ahead = start(planes(texture, top + step))
                detail, features = sampled
                added = detail, sample(top, features)
                del sampled, features
            _finish(out[top : top + step], picture()[0], added, strength)
    return out


def _finish(
    out: np.ndarray,
    mean: np.ndarray,
    texture: tuple[np.ndarray, np.ndarray] | None,
    strength: float,
) -> None:
    """Fill pixels [H, W, 3] uint8 with the faithful picture and, times the strength, the sum of
    detail and residual, each [3, H, W] in [0, 1]: a few rows at a time, which stay in the cache."""
    for top in range(0, len(out), ROWS_FINISHED):
        rows = slice(top, top + ROWS_FINISHED)
        x = mean[:, rows] * np.float32(255)
        if texture:
            added = texture[0][:, rows] + texture[1][:, rows]
            added *= np.float32(255 * strength)
            x += added
        np.rint(x, out=x)
        np.clip(x, 0, 255, out=x)
        out[rows] = x.transpose(1, 2, 0)
