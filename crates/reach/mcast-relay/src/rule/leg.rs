//! Legs: the interfaces of a rule.

use std::fmt;
use std::str::FromStr;

use mcast_group::InterfaceSelector;

use super::RuleError;
use crate::amt::AmtRelayName;

/// An interface, possibly of another network namespace, a relay of AMT or a tunnel to another site. Text form: `eth0`,
/// `netns:web/eth0`, `netns:4711/eth0`, `docker:web/eth0`, `amt:192.0.2.1`, `tunnel:paris`. Without an interface, a
/// container's is `eth0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg {
    /// Where the interface is.
    pub namespace: Namespace,
    /// The interface: a name, an index or an address. For a tunnel, its name. A relay of AMT has none.
    pub interface: InterfaceSelector,
}

/// Where a leg is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// In the network namespace of the relay.
    Own,
    /// In the one with this name, below `/run/netns`.
    Named(String),
    /// In that of the process with this number.
    Process(u32),
    /// In that of the container with this name or identifier.
    Container(String),
    /// In another network, from which this relay of AMT sends.
    Amt(AmtRelayName),
    /// None: the leg is a tunnel to another site.
    Tunnel,
}

impl Leg {
    /// Returns the name of the tunnel that it is.
    #[must_use]
    pub fn tunnel(&self) -> Option<&str> {
        match (&self.namespace, &self.interface) {
            (Namespace::Tunnel, InterfaceSelector::Name(name)) => Some(name),
            _ => None,
        }
    }
}

/// The interface that engines give to a container.
const CONTAINER_INTERFACE: &str = "eth0";

impl Leg {
    /// Returns the relay of AMT, if the leg is one.
    #[must_use]
    pub const fn amt_relay(&self) -> Option<&AmtRelayName> {
        match &self.namespace {
            Namespace::Amt(relay) => Some(relay),
            _ => None,
        }
    }
}

impl FromStr for Leg {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let invalid = |problem| RuleError::Leg { leg: text.to_owned(), problem };
        if let Some(name) = text.strip_prefix("tunnel:") {
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            return match !name.is_empty()
                && name.len() <= mcast_tunnel::MAX_NAME
                && name.bytes().all(is_valid)
            {
                true => Ok(Self {
                    namespace: Namespace::Tunnel,
                    interface: InterfaceSelector::Name(name.to_owned()),
                }),
                false => Err(invalid(
                    "is not the name of a tunnel: letters, digits and ._- only, at most 64; write tunnel:NAME",
                )),
            };
        }
        let (kind, rest) = match text.split_once(':') {
            Some(("amt", name)) => {
                let namespace = Namespace::Amt(name.parse().map_err(RuleError::AmtRelay)?);
                return Ok(Self { namespace, interface: InterfaceSelector::Default });
            }
            Some(("amt-listen", _)) => {
                return Err(invalid("only sends to gateways of AMT; write it after to"));
            }
            Some((kind @ ("netns" | "docker"), rest)) => (kind, rest),
            _ => ("", text),
        };
        let (name, interface) = match (kind, rest.split_once('/')) {
            ("", _) => ("", rest),
            (_, Some(split)) => split,
            ("docker", None) => (rest, CONTAINER_INTERFACE),
            (_, None) => return Err(invalid("has no interface; write netns:NAME/INTERFACE")),
        };
        let namespace = match kind {
            "" => Namespace::Own,
            _ if name.is_empty() || name.contains(['"', ' ', ',']) || name.starts_with('.') => {
                return Err(invalid("has no valid name of a namespace or container"));
            }
            "docker" => Namespace::Container(name.to_owned()),
            _ => name.parse().map_or_else(|_| Namespace::Named(name.to_owned()), Namespace::Process),
        };
        let interface = interface.parse().map_err(RuleError::Text)?;
        match interface {
            InterfaceSelector::Default | InterfaceSelector::All => {
                Err(invalid("does not name one interface"))
            }
            InterfaceSelector::Name(ref name)
                if name.contains(|sign: char| sign.is_whitespace() || sign == '#') =>
            {
                Err(invalid("contains a space or a #; select the interface by its index"))
            }
            _ => Ok(Self { namespace, interface }),
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Namespace::Own => {}
            Namespace::Named(name) => write!(f, "netns:{name}/")?,
            Namespace::Process(number) => write!(f, "netns:{number}/")?,
            Namespace::Container(name) => write!(f, "docker:{name}/")?,
            Namespace::Amt(name) => return write!(f, "amt:{name}"),
            Namespace::Tunnel => f.write_str("tunnel:")?,
        }
        self.interface.fmt(f)
    }
}
