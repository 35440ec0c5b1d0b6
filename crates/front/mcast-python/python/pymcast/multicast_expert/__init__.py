"""A replacement for multicast_expert 1.6.0: the same names, without a compiler and without its bugs.

`from pymcast import multicast_expert`, or run an unchanged program with
`python -m pymcast.compat program.py`. The differences are described in the guide: "Coming from
multicast_expert".
"""

from __future__ import annotations

from pymcast.multicast_expert.async_rx_socket import AsyncMcastRxSocket as AsyncMcastRxSocket
from pymcast.multicast_expert.interfaces import IfaceInfo as IfaceInfo
from pymcast.multicast_expert.interfaces import IfaceSpecifier as IfaceSpecifier
from pymcast.multicast_expert.interfaces import find_interfaces as find_interfaces
from pymcast.multicast_expert.interfaces import get_default_gateway_iface as get_default_gateway_iface
from pymcast.multicast_expert.interfaces import get_default_gateway_iface_ip as get_default_gateway_iface_ip
from pymcast.multicast_expert.interfaces import (
    get_default_gateway_iface_ip_v4 as get_default_gateway_iface_ip_v4,
)
from pymcast.multicast_expert.interfaces import (
    get_default_gateway_iface_ip_v6 as get_default_gateway_iface_ip_v6,
)
from pymcast.multicast_expert.interfaces import get_interface_ips as get_interface_ips
from pymcast.multicast_expert.interfaces import scan_interfaces as scan_interfaces
from pymcast.multicast_expert.os_multicast import name_missing_options as _name_missing_options
from pymcast.multicast_expert.rx_socket import McastRxSocket as McastRxSocket
from pymcast.multicast_expert.tx_socket import McastTxSocket as McastTxSocket
from pymcast.multicast_expert.utils import IPv4Or6Address as IPv4Or6Address
from pymcast.multicast_expert.utils import MulticastAddress as MulticastAddress
from pymcast.multicast_expert.utils import MulticastExpertError as MulticastExpertError
from pymcast.multicast_expert.utils import validate_mcast_ip as validate_mcast_ip

LOCALHOST_IPV4 = "127.0.0.1"
LOCALHOST_IPV6 = "::1"

_name_missing_options()
