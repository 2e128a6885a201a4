"""Errors that a user can act on.

Every message states the rule, what was received and the remedy, on one line. The command line prints the message
alone and exits with 1; a library caller catches `HrlrecError`.
"""


class HrlrecError(Exception):
    """Base of all errors this package raises on purpose."""


class ConfigError(HrlrecError):
    """A setting is unknown, contradictory or out of its range."""


class LogError(HrlrecError):
    """An impression log cannot be read at all (single bad rows are rejected and counted instead)."""


class DataError(HrlrecError):
    """Prepared sessions are missing, incomplete or do not fit the model."""


class ModelError(HrlrecError):
    """A model or a SavedModel is missing, incomplete or does not fit the request."""


class TrainingError(HrlrecError):
    """Training met a value it must not go on from (for instance a NaN loss)."""


class PolicyError(HrlrecError):
    """A policy asked the simulator to show something that it cannot."""
