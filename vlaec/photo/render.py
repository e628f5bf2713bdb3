"""Latents to pixels, band by band: of what is made at full resolution only the picture is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..threads import background
from .sampler import BAND, PIXELS_SAMPLED, TextureSampler
from .strips import LARGE, Rows

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

    def sample(top: int, detail: np.ndarray, features: np.ndarray) -> np.ndarray:
        rows = features.shape[1]

        def share(done: float) -> None:
            progress((top + done * rows) / height)

        added = sampler.sample(features, noise(top), share)
        added += detail
        added *= np.float32(255 * strength)
        return added

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
                added = sample(top, *sampled)
                del sampled
            x = picture()[0] * np.float32(255)
            if added is not None:
                x += added
            np.rint(x, out=x)
            np.clip(x, 0, 255, out=x)
            out[top : top + step] = x.transpose(1, 2, 0)
    return out
