"""User-facing errors: one line that names what is wrong and what was expected."""

from __future__ import annotations

#: Characters of a value that are shown at most: enough for a path in deep folders.
LONGEST = 200


class UserError(Exception):
    """A mistake in an input of the user: config, data file, download or argument.

    Command lines print it as one line and exit with code 2; it never shows a traceback.
    """

    def __init__(self, message: str) -> None:
        # Names and values may hold line breaks and commands of a terminal; the error stays one line.
        super().__init__(printable(message))


def printable(text: str) -> str:
    """The text on one line, with what a terminal would not print, or obey, as Python writes it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def bad_input(where: object, key: str, value: object, expected: str) -> UserError:
    """Build the one-line error for a bad value.

    Parameters
    ----------
    where
        File (or other place) that holds the value.
    key
        Key, column or array name in it; may be empty.
    value
        What was found.
    expected
        What should stand there.
    """
    place = f"{where}: {key}" if key else f"{where}"
    return UserError(f"{place}: got {shown(value)}, expected {expected}")


def shown(value: object) -> str:
    """A value for a message, cut to :data:`LONGEST` characters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than some thousand digits
        text = "a number of thousands of digits"
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
