"""From the name of an interface to its index."""

from __future__ import annotations

import pymcast


def iface_name_to_index(iface_name: str) -> int:
    """The index of the interface of this name. Raises OSError when there is none."""
    # Between quotes everything is a name, also what looks like a number or an address.
    quoted = iface_name.replace("\\", "\\\\").replace('"', '\\"')
    return pymcast.find_interface(f'"{quoted}"').index
