"""Every error that this package raises on purpose: a sentence saying what was wrong, where, and what to do."""

from zoo.text import printable

MAX_MESSAGE = 4000
"""Characters of a message, which may quote text from a file."""


NO_NETWORK = "no network"


class ZooError(Exception):
    """Base of all errors; the commands print it as one line and exit with `exit_code`.

    The message is safe for a terminal: control characters are escaped, and long messages are truncated.
    """

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__(), MAX_MESSAGE, keep="\n")


class UsageError(ZooError):
    """The request is invalid, such as two options that exclude each other."""

    exit_code = 2


class UnknownModel(ZooError):
    """No model, alias or architecture has this name; the message suggests the nearest ones."""

    exit_code = 2


class ManifestError(ZooError):
    """A manifest breaks the schema; the message is `file:line: field: sentence`."""


class BuildError(ZooError):
    """A description names a component or an argument that does not exist.

    kind, field: the type and the argument that it is about, where known, so that the manifest line can be found.
    """

    def __init__(self, message: str, kind: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.kind, self.field = kind, field


class FetchError(ZooError):
    """No mirror served the file; the message lists the response of each one."""


class NoNetwork(FetchError):
    """No host responded, or ZOO_OFFLINE is set: the problem is the network of this machine, not a file or a host.

    The message begins with `no network: `.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"{NO_NETWORK}: {message}")


class UnsafeCheckpoint(ZooError):
    """The file requests something that is not on the allow-list; nothing in it was executed."""


class CorruptCheckpoint(ZooError):
    """The file is truncated, inconsistent, or in no known format."""


class MismatchedCheckpoint(ZooError):
    """The tensors do not belong to this architecture; the message names the first differences and a likely cause."""


class UnreadableImage(ZooError):
    """The image is missing or cannot be decoded."""


class NotTrainable(ZooError):
    """This component does not support training."""


class DataError(ZooError):
    """A dataset folder or its annotations cannot be used."""
