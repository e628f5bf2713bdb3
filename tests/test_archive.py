"""Archives: bit-exact for sets of every size, honest about their size, and loud when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_sets.make import make_images, save_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlaec.coding.ans import initial_words
from vlaec.errors import BadFileError, BadImageError, ModelMissingError, UsageError
from vlaec.networks import SET_PRESETS, SetConfig
from vlaec.sets import archive, container
from vlaec.sets.container import Archive

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden_sets"
CONFIGS = {name: SET_PRESETS[name] for name in ("tiny-binary", "tiny-colour")}
every_kind = pytest.mark.parametrize("name", CONFIGS)
quick = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def random_images(config: SetConfig, count: int, seed: int, spread: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (count, config.height, config.width, 3)
    levels = np.clip(rng.normal(rng.uniform(0, 255), spread, shape), 0, 255).astype(np.uint8)
    if config.kind == "colour":
        return levels
    return (levels[..., 0] > 127) * np.uint8(255)


@every_kind
@given(st.integers(1, 20), st.integers(0, 2**32), st.sampled_from([0.0, 5.0, 60.0]))
@quick
@pytest.mark.usefixtures("set_models")
def test_any_set_comes_back(name: str, count: int, seed: int, spread: float) -> None:
    images = random_images(CONFIGS[name], count, seed, spread)
    data = archive.create(images, name)
    facts = container.info(data)
    assert np.array_equal(archive.extract(data), images)
    assert facts.header.count == count and sum(facts.sizes.values()) == len(data)
    # The stack holds the initial bits, what the model charges, and next to nothing else.
    stack = 32 * len(facts.stack.words)
    assert stack <= facts.initial_bits + 1.01 * facts.predicted_bits + 64


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tiny-binary", {"latent_channels": 0}),
        ("tiny-binary", {"prior": "gaussian"}),
        ("tiny-colour", {"grey_context": True}),
        ("tiny-colour", {"receptive_field": "none", "prior": "made"}),
    ],
    ids=str,
)
def test_every_model(
    name: str, change: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIGS[name], **change)
    pytest.importorskip("torch", reason="makes a model")
    save_model(tmp_path, "other", config)
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    images = make_images(config, 20)
    data = archive.create(images, "other")
    assert np.array_equal(archive.extract(data), images)
    assert (container.info(data).initial_bits == 0) == (config.latent_channels == 0)
    if not config.latent_channels:
        with pytest.raises(UsageError, match="no latent"):
            archive.create(images, "other", lossy=True)


@every_kind
@pytest.mark.usefixtures("set_models")
def test_blocks_of_any_size_are_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_images(CONFIGS[name], 16)
    usual = archive.create(images, name)
    assert max(container.unpack(usual).stack.blocks) > 1
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MAX_BLOCK", 3)
        small = archive.create(images, name)
    assert max(container.unpack(small).stack.blocks) == 3
    for data in (usual, small):
        assert np.array_equal(archive.extract(data), images)


@every_kind
@pytest.mark.usefixtures("set_models")
def test_bits_back_pays(name: str) -> None:
    """Twice the images cost twice the content, but the initial bits only once."""
    images = np.concatenate([make_images(CONFIGS[name], 24, seed) for seed in range(2)])
    half, whole = (container.info(archive.create(images[:n], name)) for n in (24, 48))
    assert half.initial_bits > 0
    assert whole.predicted_bits < 2.2 * half.predicted_bits
    assert whole.initial_bits <= half.initial_bits + 64


@every_kind
@pytest.mark.usefixtures("set_models")
def test_lossy_archives_resample(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_images(CONFIGS[name], 12)
    data = archive.create(images, name, lossy=True, seed=7)
    assert len(data) < len(archive.create(images, name))
    first = archive.extract(data)
    assert first.shape == images.shape and first.dtype == np.uint8
    if images.ndim == 3:
        assert set(np.unique(first)) == {0, 255}
    assert np.array_equal(archive.extract(data), first)
    assert np.array_equal(archive.extract(data, seed=7), first)
    assert not np.array_equal(archive.extract(data, seed=8), first)
    monkeypatch.setattr(archive, "MAX_BLOCK", 5)
    assert np.array_equal(archive.extract(data), first)


@pytest.mark.usefixtures("set_models")
@pytest.mark.parametrize("kind", ["lossless", "lossy"])
def test_every_flipped_byte_is_an_error(kind: str) -> None:
    data = (GOLDEN / f"tiny-binary-{kind}.vlaa").read_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(BadFileError):
            archive.extract(bytes(damaged))


def tampered(parsed: Archive, **changes: object) -> bytes:
    """An archive whose checksums are right and whose stack is not."""
    return container.pack(replace(parsed, stack=replace(parsed.stack, **changes)))


@pytest.mark.usefixtures("set_models")
@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.vlaa")))
def test_a_wrong_stack_is_an_error_not_images(name: str) -> None:
    parsed = container.unpack((GOLDEN / name).read_bytes())
    words, blocks = parsed.stack.words, parsed.stack.blocks
    rng = np.random.default_rng(0)
    wrong = [
        *({"words": words ^ np.uint32(1 << bit)} for bit in (0, 13, 30)),
        {"words": rng.integers(1, 2**32, len(words), dtype=np.uint32)},
        {"words": words[:-1]},
        {"words": words[1:]},
        {"words": words[:0]},
        {"words": np.append(words, 0)},
        {"words": np.append(np.array([7, 7, 7], np.uint32), words)},
        {"blocks": (sum(blocks) - 1, 1)},
    ]
    if not parsed.header.lossy:
        wrong += [{"initial": parsed.stack.initial + 1}, {"initial": 0}]
    for changes in wrong:
        with pytest.raises(BadFileError):
            archive.extract(tampered(parsed, **changes))


@pytest.mark.usefixtures("set_models")
def test_headers_that_contradict_the_model() -> None:
    parsed = container.unpack((GOLDEN / "tiny-binary-lossy.vlaa").read_bytes())
    taller = replace(parsed, header=replace(parsed.header, height=9))
    with pytest.raises(BadFileError, match="kind and size"):
        archive.extract(container.pack(taller))
    for steps in (b"", b"\x01" * 5, b"\x40" * 6):
        with pytest.raises(BadFileError, match="steps"):
            archive.extract(container.pack(replace(parsed, steps=steps)))
    other = replace(parsed, header=replace(parsed.header, model_id=bytes(8)))
    with pytest.raises(ModelMissingError):
        archive.extract(container.pack(other))


@pytest.mark.usefixtures("set_models")
def test_images_that_the_model_does_not_take() -> None:
    binary = make_images(CONFIGS["tiny-binary"], 3)
    colour = make_images(CONFIGS["tiny-colour"], 3)
    for images, name, message in (
        (binary, "tiny-colour", "takes uint8 images"),
        (colour, "tiny-binary", "takes uint8 images"),
        (binary[:, 1:], "tiny-binary", "takes uint8 images"),
        (binary[:0], "tiny-binary", "takes uint8 images"),
        (binary[0], "tiny-binary", "takes uint8 images"),
        (binary.astype(int), "tiny-binary", "takes uint8 images"),
        (binary // 255, "tiny-binary", "0 and 255"),
    ):
        with pytest.raises(BadImageError, match=message):
            archive.create(images, name)


@pytest.mark.usefixtures("set_models")
def test_arguments_that_make_no_sense() -> None:
    images = make_images(CONFIGS["tiny-binary"], 2)
    with pytest.raises(UsageError, match="photographs"):
        archive.create(images, "photo")
    with pytest.raises(ModelMissingError, match="nothing"):
        archive.create(images, "nothing")
    for names in (["a"], ["a", "a"], ["a", "b/c"], ["..", "a"]):
        with pytest.raises(UsageError, match="names"):
            archive.create(images, "tiny-binary", names=names)
    for seed in (-1, 2**32):
        with pytest.raises(UsageError, match="seed"):
            archive.create(images, "tiny-binary", lossy=True, seed=seed)
    with pytest.raises(UsageError, match="lossless"):
        archive.extract(archive.create(images, "tiny-binary"), seed=1)


def test_a_model_whose_posterior_cannot_be_coded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="makes a model")
    save_model(tmp_path, "flow", replace(CONFIGS["tiny-binary"], posterior="iaf"))
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    with pytest.raises(ModelMissingError, match="posterior"):
        archive.create(make_images(CONFIGS["tiny-binary"], 1), "flow")


def test_initial_words_are_what_the_format_says() -> None:
    words = initial_words(5)
    raw = np.random.Philox(key=0, counter=0).random_raw(3)
    assert [int(w) for w in words[:4:2]] == [int(r) & 2**32 - 1 for r in raw[:2]]
    assert [int(w) for w in words[1:4:2]] == [int(r) >> 32 for r in raw[:2]]
    assert int(words[4]) == int(raw[2]) & 2**32 - 1 | 1
