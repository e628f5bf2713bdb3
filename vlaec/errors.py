"""What can go wrong for a user. The command line turns each into one line and an exit code."""

from __future__ import annotations


class VlaecError(Exception):
    """Base of all errors that vlaec raises on purpose; the message is one line for the user."""

    exit_code = 1


class UsageError(VlaecError):
    """Arguments that make no sense, alone or together."""

    exit_code = 2


class OutputError(VlaecError):
    """The output exists and may not be overwritten, or it cannot be written."""

    exit_code = 2


class BadImageError(VlaecError):
    """The picture is damaged, not a picture, or of a kind that vlaec does not take."""

    exit_code = 3


class BadFileError(VlaecError):
    """The `.vlae` file is damaged, foreign, or newer than this program."""

    exit_code = 4


class ModelWarning(UserWarning):
    """A model in a search path cannot be used."""


class ModelMissingError(VlaecError):
    """The model that is asked for, or that a file was made with, is not installed."""

    exit_code = 5
