"""Packets as they cross the interfaces: a loop in one line."""

from __future__ import annotations

from pymcast._errors import NoUsableInterfaceError
from pymcast._keywords import CaptureKeywords, InterfaceLike
from pymcast._pymcast import Capture, interfaces
from pymcast._typing import Unpack


def capture(*names: InterfaceLike, **settings: Unpack[CaptureKeywords]) -> Capture:
    """Iterates decoded packets: `for packet in pymcast.capture("eth0", filter="multicast")`.

    Returns a `Capture` and takes the same arguments; without an interface, it captures on all on which
    a `Receiver` joins by default: up, able to multicast, not loopback. Packets are kept from the call
    on. Who leaves the loop before its end closes the capture, by `with` or by `close()`, or lets go of it.

    Raises what `Capture` does; `pymcast.NoUsableInterfaceError` when no interface is named, and none is
    up.
    """
    chosen = names or tuple(each for each in interfaces() if each.is_joined_by_default)
    if not chosen:
        raise NoUsableInterfaceError(
            "there is no interface to capture on: none is up and can multicast",
            "name one: `mcast interfaces` lists the interfaces of this machine",
            kind="NoUsableInterface",
            operation="capture",
        )
    return Capture(*chosen, **settings)
