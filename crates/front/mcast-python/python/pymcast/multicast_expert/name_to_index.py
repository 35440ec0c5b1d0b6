"""Conversion of an interface name to its index."""

from __future__ import annotations

import pymcast


def iface_name_to_index(iface_name: str) -> int:
    """Returns the index of the interface with this name. Raises OSError if there is none."""
    # In quotes, any text is a name, even one that looks like a number or an address.
    quoted = iface_name.replace("\\", "\\\\").replace('"', '\\"')
    return pymcast.find_interface(f'"{quoted}"').index
