//! The list of contestants.

use super::{Contestant, Input, Kind, Metadata, Trains};
use crate::tools::Need;

/// All contestants, in the order of the tables. Those that are compared with each other are adjacent, so that they run
/// in direct succession.
pub const ALL: &[Contestant] = &[
    both("c-trains", "C: recvmmsg and sendmmsg with UDP GRO and GSO", c("trains")),
    both("mcast-batches", "mcast: `recv_batch`, `send_batch`", rust("mcast-batched")),
    receiver("mcast-reader", "mcast: a loop over `Reader::next`", rust("mcast-reader")),
    receiver("c-trains-bare", "C, the same without metadata: less than mcast gives", bare("trains")),
    both("quinn-udp", "quinn-udp: recvmmsg with GRO, sendmsg with GSO", rust("quinn")),
    both("c-mmsg", "C: recvmmsg and sendmmsg", c("mmsg")),
    both("mcast-mmsg", "mcast: batches with merging and segmentation off", without("mcast-batched")),
    receiver("mcast-wire", "mcast: `recv_batch` past the socket (AF_XDP)", rust("mcast-wire")),
    receiver("c-wire", "C: AF_XDP, read where the kernel puts it", c("wire")),
    receiver("c-wire-bare", "C, the same without details and checks: less than mcast gives", bare("wire")),
    both("c-plain", "C: recvmsg and sendmsg", c("plain")),
    both("mcast-single", "mcast: `recv`, `send`", rust("mcast-single")),
    receiver("mcast-lean", "mcast: `recv`, without details", rust("mcast-lean")),
    receiver(
        "std-options",
        "std::net::UdpSocket, its socket set up as mcast's; reads none of the details",
        rust("std-same-options"),
    ),
    both("std", "std::net::UdpSocket, as one writes it", rust("std")),
    both("mcast-tokio", "mcast on tokio: `recv`, `send`", rust("mcast-tokio")),
    both("tokio", "tokio::net::UdpSocket", rust("tokio")),
    receiver("mcrx-core", "mcrx-core: `try_recv_batch_into`, and poll(2) between", rust("mcrx")),
    both("socat", "socat: UDP4-RECV, UDP4-DATAGRAM", Kind::Socat),
    sender("iperf2", "iperf 2: -s -u, -c -u", Kind::Iperf),
    EXPERT,
    SOCKET,
];

/// The contestants in Python; the first is the reference.
pub const PYTHON: &[Contestant] = &[
    EXPERT,
    both("pymcast", "pymcast: `recv`, `send`", pymcast("plain")),
    receiver("pymcast-into", "pymcast: `recv_into`", pymcast("into")),
    receiver("pymcast-reader", "pymcast: a loop over `reader`, from batches", pymcast("reader")),
    sender("pymcast-writer", "pymcast: `writer().send`, by batches of 64", pymcast("writer")),
    both("pymcast-batches", "pymcast: `recv_batch`; `send_batch`, 64 at once", pymcast("batches")),
    receiver("multicast_expert-async", "multicast_expert: async `recvfrom`", expert("async")),
    both("pymcast-async", "pymcast.aio: `recv`, `send`", pymcast("async")),
    both("pymcast-drop-in", "pymcast.multicast_expert: `recvfrom`, `sendto`", pymcast("drop-in")),
    SOCKET,
];

/// The command beside the library and C; the first is the reference.
pub const COMMAND: &[Contestant] = &[
    both("c-mmsg", "C: recvmmsg and sendmmsg", c("mmsg")),
    receiver("mcast-wire", "mcast: `recv_batch` past the socket (AF_XDP)", rust("mcast-wire")),
    receiver("command-wire", "`mcast recv --wire require --discard`", Kind::Command(Input::Wire)),
    receiver("command", "`mcast recv --discard`", Kind::Command(Input::Sockets)),
];

const EXPERT: Contestant =
    both("multicast_expert", "multicast_expert: `recvfrom`, `sendto`", expert("plain"));
const SOCKET: Contestant = both(
    "python",
    "Python's socket: `recvfrom`, `sendto`",
    Kind::Python("socket_peer.py", "plain", Need::Python),
);

/// Returns the contestant with this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Contestant> {
    ALL.iter().chain(PYTHON).chain(COMMAND).find(|contestant| contestant.name == name)
}

const fn both(name: &'static str, what: &'static str, kind: Kind) -> Contestant {
    Contestant { name, what, kind, sends: true, receives: true }
}

const fn receiver(name: &'static str, what: &'static str, kind: Kind) -> Contestant {
    Contestant { name, what, kind, sends: false, receives: true }
}

const fn sender(name: &'static str, what: &'static str, kind: Kind) -> Contestant {
    Contestant { name, what, kind, sends: true, receives: false }
}

const fn rust(name: &'static str) -> Kind {
    Kind::Rust(name, Trains::On)
}

const fn without(name: &'static str) -> Kind {
    Kind::Rust(name, Trains::Off)
}

const fn c(calls: &'static str) -> Kind {
    Kind::Reference(calls, Metadata::Read)
}

const fn bare(calls: &'static str) -> Kind {
    Kind::Reference(calls, Metadata::Dropped)
}

const fn expert(how: &'static str) -> Kind {
    Kind::Python("multicast_expert_peer.py", how, Need::MulticastExpert)
}

const fn pymcast(how: &'static str) -> Kind {
    Kind::Python("pymcast_peer.py", how, Need::Pymcast)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        for list in [ALL, PYTHON, COMMAND] {
            let names: HashSet<_> = list.iter().map(|contestant| contestant.name).collect();
            assert_eq!(names.len(), list.len());
        }
    }
}
