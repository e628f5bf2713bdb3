"""A stack of words that symbols are pushed to and popped from: constriction's AnsCoder.

Popping from an empty AnsCoder raises nothing: it gives the lowest symbol for ever, and the stack
still counts as empty. So whoever pops asks `require` first. A stack that a symbol other than the
lowest was ever pushed to is not empty until that symbol is popped.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import constriction
import numpy as np

from ..errors import BadFileError

AnsCoder: TypeAlias = Any  # constriction's classes come without types

WORD_BITS = 32
# Bits of a stack that a count of its content may be wrong by: constriction's 64-bit head and the
# float error of the count.
RESERVE_BITS = 96


def new_stack(words: np.ndarray | None = None) -> AnsCoder:
    """An empty stack, or one that holds `words` [n] uint32.

    Raises:
        BadFileError: they end in zero, as no stack's do.
    """
    if words is None:
        return constriction.stream.stack.AnsCoder()
    try:
        return constriction.stream.stack.AnsCoder(words.astype(np.uint32))
    except ValueError as error:
        raise BadFileError("damaged file: the stack ends in a zero word") from error


def stack_words(stack: AnsCoder) -> np.ndarray:
    """What the stack holds, [n] uint32."""
    return np.asarray(stack.get_compressed())


def require(stack: AnsCoder) -> None:
    """Raise BadFileError if nothing is left to be popped."""
    if stack.is_empty():
        raise BadFileError("damaged file: its data end before the last symbol")


def initial_words(count: int) -> np.ndarray:
    """What a stack is started with [count] uint32: bits without meaning that both sides know.

    Philox with key 0, its output cut into words, low half first; the last one is made odd, since a
    stack does not end in zero.
    """
    raw = np.random.Philox(key=0, counter=0).random_raw(-(-count // 2))
    words: np.ndarray = raw.astype("<u8").view("<u4")[:count].astype(np.uint32)
    words[-1:] |= 1
    return words
