"""From the name of an interface to its index."""

from __future__ import annotations

import pymcast


def iface_name_to_index(iface_name: str) -> int:
    """The index of the interface of this name. Raises OSError when there is none."""
    return pymcast.find_interface(f'"{iface_name}"').index
