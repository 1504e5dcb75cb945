"""One error to stand for a group of them."""

from __future__ import annotations

__all__ = ["leaf_of"]


def leaf_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a group is about: an interrupt before the first of the others.

    Where several tasks fail at once, one of them caused the others' end.
    """
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        worst = [one for one in leaf.exceptions if isinstance(one, KeyboardInterrupt)]
        leaf = (worst or leaf.exceptions)[0]
    return leaf
