//! Legs: the interfaces of a rule.

use std::fmt;
use std::str::FromStr;

use mcast_group::InterfaceSelector;

use super::RuleError;

/// An interface, possibly of another network namespace. Text form: `eth0`, `netns:web/eth0`, `netns:4711/eth0`,
/// `docker:web/eth0`. Without an interface, a container's is `eth0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg {
    /// Where the interface is.
    pub namespace: Namespace,
    /// The interface: a name, an index or an address.
    pub interface: InterfaceSelector,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// That of the relay.
    Own,
    /// The one with this name, below `/run/netns`.
    Named(String),
    /// That of the process with this number.
    Process(u32),
    /// That of the container with this name or identifier.
    Container(String),
}

/// The interface that engines give to a container.
const CONTAINER_INTERFACE: &str = "eth0";

impl FromStr for Leg {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let invalid = |problem| RuleError::Leg { leg: text.to_owned(), problem };
        let (kind, rest) = match text.split_once(':') {
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
        }
        self.interface.fmt(f)
    }
}
