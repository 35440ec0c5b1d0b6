"""Live capture of packets."""

from __future__ import annotations

from pymcast._errors import NoUsableInterfaceError
from pymcast._keywords import CaptureKeywords, InterfaceLike
from pymcast._pymcast import Capture, interfaces
from pymcast._typing import Unpack


def capture(*names: InterfaceLike, **settings: Unpack[CaptureKeywords]) -> Capture:
    """Iterates decoded packets: `for packet in pymcast.capture("eth0", filter="multicast")`.

    Returns a `Capture` and takes the same arguments. Without an interface, it captures on all on which a `Receiver`
    joins by default: those that are up, support multicast and are not loopback. It buffers packets from the call on.
    If you leave the loop early, close the capture, with `with` or `close()`.

    Raises the same exceptions as `Capture`, and `pymcast.NoUsableInterfaceError` if no interface is given and none
    is up.
    """
    chosen = names or tuple(each for each in interfaces() if each.is_joined_by_default)
    if not chosen:
        raise NoUsableInterfaceError(
            "there is no interface to capture on: none is up and supports multicast",
            "give one: `mcast interfaces` lists the interfaces of this machine",
            kind="NoUsableInterface",
            operation="capture",
        )
    return Capture(*chosen, **settings)
