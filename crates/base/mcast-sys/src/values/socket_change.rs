//! Changes of one option or membership of a socket, also of another program.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use mcast_group::{Family, Group, InterfaceIndex};

/// A change of one option or membership of a socket. Its text form is read back by [`FromStr`]:
/// `join 10.0.0.7@239.1.2.3%2`, `send-by ipv4 3 instead-of route`, `hops ipv6 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketChange {
    /// Join a group on an interface, from any source or from one (`MCAST_JOIN_GROUP`, `MCAST_JOIN_SOURCE_GROUP`).
    Join(SocketMembership),
    /// Leave a group, or stop to receive it from one source (`MCAST_LEAVE_GROUP`, `MCAST_LEAVE_SOURCE_GROUP`).
    Leave(SocketMembership),
    /// Exclude a source (`MCAST_BLOCK_SOURCE`).
    Block(SocketMembership),
    /// Admit an excluded source (`MCAST_UNBLOCK_SOURCE`).
    Unblock(SocketMembership),
    /// Send to groups by an interface (`IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`).
    SendBy {
        /// The family of the groups.
        family: Family,
        /// What chooses the interface.
        by: SendInterface,
        /// What chose it before, as far as the kernel does not report it.
        instead_of: SendInterface,
    },
    /// Send to groups with a hop limit (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`).
    HopLimit {
        /// The family of the groups.
        family: Family,
        /// The hop limit.
        hops: u8,
    },
    /// Loop what is sent to groups back to this host, or not (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`).
    Loopback {
        /// The family of the groups.
        family: Family,
        /// Whether it is looped back.
        on: bool,
    },
    /// Receive groups that only other sockets have joined, or not (`IP_MULTICAST_ALL`, `IPV6_MULTICAST_ALL`).
    AllGroups {
        /// The family of the groups.
        family: Family,
        /// Whether they are received.
        on: bool,
    },
    /// Set the size of the receive buffer in bytes (`SO_RCVBUFFORCE`, or `SO_RCVBUF` without the right to it).
    ReceiveBuffer(usize),
}

/// A group on an interface, from any source or from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketMembership {
    /// The group.
    pub group: Group,
    /// The interface.
    pub interface: InterfaceIndex,
    /// The source; `None` for any.
    pub source: Option<IpAddr>,
}

/// What chooses the interface by which a socket sends to groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendInterface {
    /// The routing table.
    Route,
    /// The program, by index.
    Index(InterfaceIndex),
    /// The program, by an IPv4 address of the interface.
    Address(Ipv4Addr),
}

impl fmt::Display for SocketChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: &bool| if *on { "on" } else { "off" };
        match self {
            Self::Join(membership) => write!(f, "join {membership}"),
            Self::Leave(membership) => write!(f, "leave {membership}"),
            Self::Block(membership) => write!(f, "block {membership}"),
            Self::Unblock(membership) => write!(f, "unblock {membership}"),
            Self::SendBy { family, by, instead_of } => {
                write!(f, "send-by {} {by} instead-of {instead_of}", name(*family))
            }
            Self::HopLimit { family, hops } => write!(f, "hops {} {hops}", name(*family)),
            Self::Loopback { family, on } => write!(f, "loopback {} {}", name(*family), switch(on)),
            Self::AllGroups { family, on } => write!(f, "all-groups {} {}", name(*family), switch(on)),
            Self::ReceiveBuffer(bytes) => write!(f, "receive-buffer {bytes}"),
        }
    }
}

impl fmt::Display for SocketMembership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = self.source {
            write!(f, "{source}@")?;
        }
        write!(f, "{}%{}", self.group, self.interface)
    }
}

impl fmt::Display for SendInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route => f.write_str("route"),
            Self::Index(index) => index.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// The error for a text that is not a [`SocketChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSocketChange(pub String);

impl fmt::Display for InvalidSocketChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a change of a socket, such as `join 239.1.2.3%2` or `hops ipv4 16`", self.0)
    }
}

impl std::error::Error for InvalidSocketChange {}

impl FromStr for SocketChange {
    type Err = InvalidSocketChange;

    fn from_str(text: &str) -> Result<Self, InvalidSocketChange> {
        let words: Vec<_> = text.split_whitespace().collect();
        parse(&words).ok_or_else(|| InvalidSocketChange(text.to_owned()))
    }
}

fn parse(words: &[&str]) -> Option<SocketChange> {
    let family = |text: &str| [Family::V4, Family::V6].into_iter().find(|family| name(*family) == text);
    let switch = |text: &str| match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    Some(match words {
        ["join", text] => SocketChange::Join(membership(text)?),
        ["leave", text] => SocketChange::Leave(membership(text)?),
        ["block", text] => SocketChange::Block(membership(text).filter(|one| one.source.is_some())?),
        ["unblock", text] => SocketChange::Unblock(membership(text).filter(|one| one.source.is_some())?),
        ["send-by", of, by, "instead-of", instead_of] => SocketChange::SendBy {
            family: family(of)?,
            by: send_interface(by)?,
            instead_of: send_interface(instead_of)?,
        },
        ["hops", of, hops] => SocketChange::HopLimit { family: family(of)?, hops: hops.parse().ok()? },
        ["loopback", of, on] => SocketChange::Loopback { family: family(of)?, on: switch(on)? },
        ["all-groups", of, on] => SocketChange::AllGroups { family: family(of)?, on: switch(on)? },
        ["receive-buffer", bytes] => SocketChange::ReceiveBuffer(bytes.parse().ok()?),
        _ => return None,
    })
}

fn membership(text: &str) -> Option<SocketMembership> {
    let (source, rest) = match text.split_once('@') {
        Some((source, rest)) => (Some(source.parse().ok()?), rest),
        None => (None, text),
    };
    let (group, interface) = rest.rsplit_once('%')?;
    let group: Group = group.parse().ok()?;
    let interface = index(interface)?;
    let is_same = |source: &IpAddr| Family::of(*source) == group.family();
    source.iter().all(is_same).then_some(SocketMembership { group, interface, source })
}

fn send_interface(text: &str) -> Option<SendInterface> {
    match text {
        "route" => Some(SendInterface::Route),
        _ => index(text).map(SendInterface::Index).or_else(|| text.parse().ok().map(SendInterface::Address)),
    }
}

fn index(text: &str) -> Option<InterfaceIndex> {
    text.parse().ok().and_then(InterfaceIndex::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_change_is_read_back_from_its_text() {
        for text in [
            "join 239.1.2.3%2",
            "join 10.0.0.7@232.1.2.3%2",
            "leave ff15::1234%3",
            "block 10.0.0.7@239.1.2.3%2",
            "unblock fd00::7@ff15::1234%2",
            "send-by ipv4 3 instead-of route",
            "send-by ipv4 10.0.0.7 instead-of 2",
            "send-by ipv6 route instead-of 3",
            "hops ipv4 16",
            "hops ipv6 1",
            "loopback ipv4 on",
            "all-groups ipv6 off",
            "receive-buffer 4194304",
        ] {
            assert_eq!(text.parse::<SocketChange>().unwrap().to_string(), text);
        }
        for text in
            ["", "join 10.0.0.7%2", "join 239.1.2.3%0", "block 239.1.2.3%2", "hops 16", "fd00::7@239.1.2.3%1"]
        {
            assert!(text.parse::<SocketChange>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<SocketChange>();
        }
    }
}
