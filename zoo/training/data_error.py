"""What is wrong with the data that training is to learn from."""

from __future__ import annotations

from zoo.errors import ZooError


class DataError(ZooError):
    """The data set's folder or annotations are not what training needs."""
