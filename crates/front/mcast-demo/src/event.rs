//! What a demonstration shows, in order: its events, as text and as JSON.

use std::net::{IpAddr, SocketAddr};
use std::{fmt, io};

use mcast::GroupAddr;
use serde::{Serialize, Serializer};

/// Something that happened at a host. Its `Display` is the rest of a sentence after the host and the [verb](Self::verb).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields of all variants have the same few names")]
pub enum Event {
    /// A receiver joined on these interfaces.
    Joined {
        #[serde(flatten)]
        group: Endpoint,
        interfaces: Vec<String>,
    },
    /// A receiver joined and left the choice of the interface to the kernel.
    JoinedAnywhere {
        #[serde(flatten)]
        group: Endpoint,
    },
    /// A sender sent.
    Sent {
        #[serde(flatten)]
        group: Endpoint,
        interface: String,
        text: String,
    },
    /// A receiver received a datagram.
    Received {
        #[serde(flatten)]
        group: Endpoint,
        interface: String,
        source: IpAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<u8>,
        text: String,
    },
    /// A receiver received nothing, or nothing more, until the timeout.
    ReceivedNothing {
        #[serde(flatten)]
        group: Endpoint,
    },
    /// A capture saw a packet. `bytes` is empty if they are not shown.
    Captured {
        interface: String,
        summary: String,
        #[serde(rename = "hex", serialize_with = "as_hexadecimal", skip_serializing_if = "Vec::is_empty")]
        bytes: Vec<u8>,
    },
    /// A capture saw no such frame.
    CapturedNothing { interface: String, packet: String },
    /// A captured frame was compared with the tutorial's; these fields differ.
    Compared { differences: Vec<&'static str> },
    /// A switch has learned which hosts are members of a group.
    Learned { group: IpAddr, hosts: Vec<String> },
}

impl Event {
    #[cfg(target_os = "linux")]
    pub(crate) fn captured(interface: &str, summary: String, bytes: Vec<u8>) -> Self {
        Self::Captured { interface: interface.to_owned(), summary, bytes }
    }

    /// Returns the verb of the sentence whose subject is the host.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Joined { .. } | Self::JoinedAnywhere { .. } => "joined",
            Self::Sent { .. } => "sent",
            Self::Received { .. } | Self::ReceivedNothing { .. } => "received",
            Self::Captured { .. } | Self::CapturedNothing { .. } => "captured",
            Self::Compared { .. } => "compared",
            Self::Learned { .. } => "learned",
        }
    }

    /// Returns the frame to show below the sentence; empty if there is none.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Captured { bytes, .. } => bytes,
            _ => &[],
        }
    }
}

/// Writes the rest of the sentence.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { group, interfaces } if interfaces.is_empty() => write!(f, "{group} nowhere"),
            Self::Joined { group, interfaces } => write!(f, "{group} on {}", interfaces.join(" and ")),
            Self::JoinedAnywhere { group } => write!(f, "{group} on INADDR_ANY"),
            Self::Sent { group, interface, text } => write!(f, "{text:?} to {group} on {interface}"),
            Self::Received { group, interface, source, text, .. } => {
                write!(f, "{text:?} for {} from {source} on {interface}", group.group)
            }
            Self::ReceivedNothing { group } => write!(f, "nothing; still waiting for {group}"),
            Self::Captured { interface, summary, bytes } if bytes.is_empty() => {
                write!(f, "on {interface} {summary}")
            }
            Self::Captured { summary, .. } => f.write_str(summary),
            Self::CapturedNothing { interface, packet } => write!(f, "on {interface} no {packet}"),
            Self::Compared { differences } if differences.is_empty() => {
                f.write_str("with the expected frame: identical to the last byte")
            }
            Self::Compared { differences } => {
                write!(f, "with the expected frame: identical except for {}", differences.join(", "))
            }
            Self::Learned { group, hosts } if hosts.is_empty() => write!(f, "{group} has no members"),
            Self::Learned { group, hosts } => write!(f, "{group} has the members {}", hosts.join(" and ")),
        }
    }
}

/// A group and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// The group.
    pub group: IpAddr,
    /// The UDP port.
    pub port: u16,
}

impl From<GroupAddr> for Endpoint {
    fn from(address: GroupAddr) -> Self {
        SocketAddr::from(address).into()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { group: address.ip(), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.group, self.port).fmt(f)
    }
}

fn as_hexadecimal<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&text)
}

/// A part of a demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scene<'a> {
    /// What is demonstrated.
    Title(&'static str),
    /// An act begins.
    Act {
        /// A short name that identifies it.
        name: &'static str,
        /// Its title.
        title: &'static str,
    },
    /// A drawing of the network, made of line-drawing characters.
    Picture(&'static str),
    /// A paragraph that explains what the steps show.
    Explanation(&'static str),
    /// Something happened at a host.
    Step {
        /// The name of the host.
        host: &'a str,
        /// What happened.
        event: &'a Event,
        /// What should have happened; `None` for an action, which cannot differ.
        expected: Option<&'a Event>,
    },
}

/// Shows a scene.
pub type Show<'a> = &'a mut dyn FnMut(Scene<'_>) -> io::Result<()>;

/// Where a demonstration plays.
pub(crate) struct Stage<'a>(pub(crate) Show<'a>);

impl Stage<'_> {
    pub(crate) fn show(&mut self, scene: Scene<'_>) -> io::Result<()> {
        (self.0)(scene)
    }

    /// Reports an action at a host.
    pub(crate) fn report(&mut self, host: &str, event: &Event) -> io::Result<()> {
        self.show(Scene::Step { host, event, expected: None })
    }

    /// Reports an event at a host, and what was expected.
    pub(crate) fn check(&mut self, host: &str, event: &Event, expected: &Event) -> io::Result<()> {
        self.show(Scene::Step { host, event, expected: Some(expected) })
    }
}
