"""The functions of the package: pictures of any kind to `.vlae` bytes and back.

Importing this file needs neither a network nor Pillow; what is wrong with a call or a file is said
before a model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from . import zoo
from .coding.progress import Progress
from .errors import BadFileError, UsageError
from .kinds import kind_of
from .limits import MAX_PIXELS, memory_to_decompress, why_too_large
from .options import CompressOptions, DecompressOptions, whole
from .target import Target

if TYPE_CHECKING:
    import os

    import numpy as np

    from .images import Picture
    from .photo.container import Container, Info
    from .photo.latent_coder import Parameters
    from .sets.container import Info as ArchiveInfo

    # What `compress` takes for a picture; a tensor of torch, too.
    ImageLike = Any
    # What holds a `.vlae` file: its bytes, its path, or an open stream.
    FileLike = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO

KINDS = ("pil", "numpy", "torch", "picture")


def compress(
    image: ImageLike,
    quality: float = 50,
    *,
    model: str | None = None,
    effort: int = 0,
    tune: str | None = None,
    size: int | str | None = None,
    bpp: float | None = None,
    target: str | None = None,
    strip: Iterable[str] = (),
    frame: int | None = None,
    tone_map: bool = False,
    upright: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_memory: int | str | None = None,
) -> bytes:
    """A picture as a `.vlae` file.

    Args:
        image: a Pillow image, a `Picture`, a path, bytes or a binary stream of a picture file, an
            array [H, W] or [H, W, 3 or 4] of uint8 or uint16, or a tensor [3, H, W] of uint8 or
            of floats from 0 to 1.
        quality: 0..100.
        model: a name from `vlaec models`; None for the default one at this quality.
        effort: 0..9, how long to search for a better file.
        tune: the metric that the search of an effort is for, "psnr" or "ms-ssim"; None for both.
        size: most bytes of the file, 40_000 or "40k"; the quality is found.
        bpp: most bits per pixel of the file; the quality is found.
        target: metric and value that the decompressed picture reaches, such as "lpips=0.1",
            "ms-ssim=0.97" or "psnr=32"; the quality is found.
        strip: metadata to leave out: "all", or some of "exif", "xmp", "icc", "gps".
        frame: index of the frame or page to take; None refuses files with several.
        tone_map: turn HDR into SDR instead of refusing it.
        upright: turn the picture as its EXIF block says.
        max_pixels: refuse larger pictures.
        max_memory: refuse pictures that need more memory, in bytes or as "800M".

    Raises:
        VlaecError: an argument out of range, an image that cannot be kept, a missing model.
    """
    options = CompressOptions(
        quality=quality,
        model=model,
        effort=effort,
        tune=tune,
        size=size,
        bpp=bpp,
        target=target,
        strip=strip,
        frame=frame,
        tone_map=tone_map,
        upright=upright,
        max_pixels=max_pixels,
        max_memory=max_memory,
    )
    from .inputs import as_picture, read_options

    check_model(options)
    return encode(as_picture(image, read_options(options)), options)


def compress_batch(images: Iterable[ImageLike], **options: Any) -> list[bytes]:
    """`compress` for each of several pictures, an array [N, H, W, 3] or a tensor [N, 3, H, W].

    Args:
        images: the pictures.
        options: options of `compress`, which hold for all.

    Raises:
        VlaecError: as `compress`.
        TypeError: an option that `compress` does not have.
    """
    return [compress(one, **options) for one in images]


def decompress(
    data: FileLike,
    texture: float | None = None,
    *,
    seed: int | None = None,
    scale: int = 1,
    max_pixels: int = MAX_PIXELS,
    max_memory: int | str | None = None,
    as_: str = "pil",
) -> Any:
    """The picture in a `.vlae` file.

    Args:
        data: the file's bytes, its path, or a binary stream.
        texture: strength of the resampled texture, 0 (none: the most faithful) to 1; None for
            the file's own default.
        seed: another texture of the same kind, 0..255; None for the file's own.
        scale: 2, 4, 8 or 16 for a preview of half, ... the width and height, without texture.
        max_pixels: refuse larger pictures.
        max_memory: refuse pictures that need more memory, in bytes or as "800M".
        as_: "pil" for a Pillow image, "numpy" for an array [H, W, 3], with alpha [H, W, 4],
            uint8; "torch" for such a tensor [3 or 4, H, W]; "picture" for a `Picture`.

    Raises:
        VlaecError: a damaged or foreign file, a missing model, an argument out of range.
    """
    if as_ not in KINDS:
        raise UsageError(f"as_ must be one of {', '.join(KINDS)}, not {as_!r}")
    options = DecompressOptions(texture, seed, scale, max_pixels, max_memory)
    from .inputs import as_bytes, from_picture

    return from_picture(decode(as_bytes(data), options), as_)


def decompress_batch(files: Iterable[FileLike], **options: Any) -> list[Any]:
    """`decompress` for each of several files.

    Args:
        files: their bytes, paths or binary streams.
        options: options of `decompress`, which hold for all.

    Raises:
        VlaecError: as `decompress`.
        TypeError: an option that `decompress` does not have.
    """
    return [decompress(data, **options) for data in files]


def latents(data: FileLike) -> np.ndarray:
    """The latent z of a `.vlae` file: integers [C, H / 16, W / 16], rounded up, exact everywhere.

    Raises:
        VlaecError: a damaged or foreign file, a missing model.
    """
    from .inputs import as_bytes

    z, _ = read_latent(_read(as_bytes(data)))
    return z


def read_latent(container: Container) -> tuple[np.ndarray, Parameters]:
    """z [C, h, w] in a file, and what the prior says of it. Raises VlaecError."""
    from .photo.codec import load_codec

    card = zoo.find(model_id=container.header.model_id)
    return load_codec(card.id).read_latent(container)


def info(data: FileLike) -> Info | ArchiveInfo:
    """What a `.vlae` or `.vlaa` file holds, without decoding it.

    Raises:
        VlaecError: a damaged or foreign file.
    """
    from .inputs import as_bytes

    content = as_bytes(data)
    summary: Info | ArchiveInfo = kind_of(content).info(content)
    return summary


def verify(data: FileLike) -> dict[str, Any]:
    """What a sound `.vlae` or `.vlaa` file holds.

    Of a picture all checksums, the metadata, the alpha plane and the latents are checked; of an
    archive every image is decoded.

    Raises:
        BadFileError: the file is damaged.
        ModelMissingError: its model is not installed, so it cannot be said.
    """
    from .inputs import as_bytes

    content = as_bytes(data)
    return kind_of(content).verify(content)


def create_archive(
    images: np.ndarray,
    *,
    model: str,
    lossy: bool = False,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> bytes:
    """Small images of one size as a `.vlaa` file.

    Args:
        images: uint8 [N, H, W] of 0 and 255, or [N, H, W, 3].
        model: name of a model for such images; see `vlaec models`.
        lossy: keep the latents alone, and resample the rest.
        seed: seed for resampling (lossy archives only).
        names: file names of the images.

    Raises:
        VlaecError: images that the model does not take, a missing model.
    """
    from .sets import archive

    return archive.create(images, model, lossy, whole("seed", seed, 0, 2**32 - 1), names)


def extract_archive(data: FileLike, *, seed: int | None = None) -> np.ndarray:
    """The images in a `.vlaa` file, as `create_archive` takes them.

    Args:
        data: the file's bytes, its path, or a binary stream.
        seed: seed for another sample (lossy archives only); None for the file's own.

    Raises:
        VlaecError: a damaged or foreign file, a missing model, a seed for a lossless archive.
    """
    from .inputs import as_bytes
    from .sets import archive

    checked = None if seed is None else whole("seed", seed, 0, 2**32 - 1)
    return archive.extract(as_bytes(data), checked)


def encode(picture: Picture, options: CompressOptions, progress: Progress | None = None) -> bytes:
    """A `Picture` as a `.vlae` file. Raises VlaecError."""
    check_model(options)
    from .photo import codec

    if options.searches:
        return _search(picture, options, progress or (lambda share: None))
    how = {"effort": options.effort, "tune": options.tune}
    return codec.encode(picture, options.quality, options.model, progress, **how)


def _search(picture: Picture, options: CompressOptions, progress: Progress) -> bytes:
    """The file that meets the size or the target of the options."""
    from . import rate

    done = 0

    def one(tried: CompressOptions) -> bytes:
        nonlocal done
        data = encode(picture, tried)
        done += 1
        progress(done / (done + 2))  # how many it will be nobody knows
        return data

    limit = options.limit(picture.width * picture.height)
    if limit is not None:
        return rate.encode_within(limit, picture.width * picture.height, options, one)
    target = options.target
    if not isinstance(target, Target):
        raise UsageError("there is nothing to search for")
    measure = rate.make_measure(target.metric, picture)
    return rate.encode_for(
        target, options, one, lambda data: measure(decode(data, DecompressOptions()))
    )


def decode(data: bytes, options: DecompressOptions, progress: Progress | None = None) -> Picture:
    """The `Picture` in a `.vlae` file. Raises VlaecError."""
    header = _read(data).header
    needed = memory_to_decompress(header.width * header.height)
    reason = why_too_large(header.width, header.height, options.max_pixels, needed, options.memory)
    if reason:
        raise BadFileError(reason)
    from . import preview
    from .photo import codec

    if options.scale > 1:
        return preview.decode(data, options.scale, progress)
    return codec.decode(data, options.texture, options.seed, progress)


def check_model(options: CompressOptions) -> zoo.PhotoCard:
    """The card of the model that will be used. Raises VlaecError when there is none."""
    card = zoo.for_photos(zoo.find(name=options.model, quality=options.quality))
    lowest, highest = card.qualities
    if not options.searches and not lowest <= options.quality <= highest:
        raise UsageError(
            f"quality must be between {lowest:g} and {highest:g} for model {card.name}, "
            f"not {options.quality:g}"
        )
    return card


def _read(data: bytes) -> Container:
    """A file's parts, once its model is known to be here. Raises VlaecError."""
    from .photo import container

    parts = container.unpack(data)
    zoo.find(model_id=parts.header.model_id)
    return parts
