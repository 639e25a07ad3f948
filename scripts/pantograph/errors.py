"""The two ways in which a stage ends without its product.

A `Rejected` input is a result (no person, too few frames, no camera solution): the stage writes
a product that says so and exits 0. A `PantographError` is a failure (a corrupt file, a missing
checkpoint): the stage prints one line and exits 1.
"""


class PantographError(Exception):
    """A failure with a message of one line: what was expected, what was found, what to do."""


class Rejected(Exception):
    """The input cannot give a motion; the message is the reason shown to the user."""


class ContractError(PantographError):
    """A file does not hold what its schema promises."""
