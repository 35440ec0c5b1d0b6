//! Legs, which are the interfaces of a rule, and what is wrong with a rule.

use std::fmt;
use std::str::FromStr;

use mcast_group::{GroupRange, InterfaceSelector, ParseError};
use mcast_pace::ParseRateError;

use crate::amt::{AmtRelayName, InvalidRelayName};

/// The number of a leg, given by the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u8);

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

/// Why a text is not a valid rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// It does not have the form of a rule.
    #[error("{0}; write TRAFFIC from LEG to TARGET, or TRAFFIC between LEG and LEG")]
    Form(String),
    /// A group, a port, a source or an interface is not valid.
    #[error(transparent)]
    Text(ParseError),
    /// A leg is not valid.
    #[error("\"{leg}\" {problem}")]
    Leg {
        /// The leg.
        leg: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A unicast target is not valid.
    #[error("\"{0}\" is not a unicast target; write udp://ADDRESS:PORT")]
    Unicast(String),
    /// An address for HTTP clients is not valid.
    #[error(
        "\"{0}\" is not an address for HTTP clients; write http://localhost:PORT, or http://ADDRESS:PORT of this host"
    )]
    Http(String),
    /// A playlist is served to others than HTTP clients.
    #[error(
        "only HTTP clients are served from a playlist; send to http://ADDRESS:PORT alone, or name groups"
    )]
    Playlist,
    /// What a rule says does not apply to HTTP clients.
    #[error("HTTP clients cannot be served like this: {0}")]
    HttpOption(&'static str),
    /// A relay of AMT is not valid.
    #[error(transparent)]
    AmtRelay(InvalidRelayName),
    /// An address for gateways of AMT is not valid.
    #[error("\"{0}\" is not an address to listen at; write amt-listen:ADDRESS or amt-listen:ADDRESS:PORT")]
    AmtAddress(String),
    /// A relay of AMT is not where traffic comes from.
    #[error("{0} only sends: write it after from, and to serve gateways of AMT, write to amt-listen:ADDRESS")]
    AmtTarget(Leg),
    /// AMT does not carry this traffic.
    #[error("AMT carries groups that cross networks, and no broadcasts or discovery protocols")]
    AmtTraffic,
    /// The relay of AMT must be found by the source, of which there is none or are several.
    #[error("driad finds the relay of one source; write SOURCE@GROUP:PORT")]
    DriadSource,
    /// A leg occurs twice.
    #[error("{0} occurs twice: what arrives there is never sent there")]
    SameLeg(String),
    /// An option is unknown.
    #[error(
        "\"{0}\" is not an option of rules; they are as, ttl, rate, allow, deny, repair, keep-source, always and no-replies"
    )]
    UnknownOption(String),
    /// An option occurs twice, or together with one that excludes it.
    #[error("the option {0} is given twice, or with one that excludes it")]
    RepeatedOption(String),
    /// An option has no value.
    #[error("the option {0} has no value")]
    NoValue(&'static str),
    /// The hop limit is not valid.
    #[error("\"{0}\" is not a valid TTL; write a number from 1 to 255")]
    HopLimit(String),
    /// The rate is not valid.
    #[error("the rate \"{0}\" {1}")]
    Rate(String, ParseRateError),
    /// The time of repairs is not valid.
    #[error("\"{0}\" is not a valid time for repairs; write one from 10ms to 10s, such as 200ms")]
    Bound(String),
    /// Repairs are requested, and no tunnel is named.
    #[error("repair needs a tunnel: nothing else is repaired; send to tunnel:NAME, or omit repair")]
    RepairWithoutTunnel,
    /// A service is not valid.
    #[error("\"{0}\" is not a type of service; write it without its protocol: ipp, airplay")]
    Service(String),
    /// Services are given for a rule that does not name mDNS.
    #[error("allow and deny need mdns: other traffic has no services")]
    ServicesWithoutMdns,
    /// The source cannot be kept.
    #[error("keep-source is not possible here: {0}")]
    KeepSource(&'static str),
    /// The range contains groups that control one link.
    #[error(
        "{0} contains groups that control the link they are on, which are never forwarded; name a discovery protocol, such as mdns, or another group of one link, such as 224.0.0.7:8001"
    )]
    LinkControl(GroupRange),
    /// The port belongs to a protocol that forwarding breaks.
    #[error("port {0} is that of {1}, which is never forwarded")]
    Port(u16, &'static str),
    /// The traffic cannot be rewritten in this way.
    #[error("it cannot be sent as {0}: {1}")]
    Rewrite(String, &'static str),
    /// A group is source-specific, and the rule names no source.
    #[error("{0} is source-specific and the rule does not name a source; write SOURCE@GROUP:PORT")]
    NoSource(GroupRange),
    /// The range of ports is too large.
    #[error("it names {0} ports, and at most {1} can be received; name fewer")]
    TooManyPorts(usize, usize),
    /// Too many groups must be joined always.
    #[error("always joins {0} groups, and at most {1} can be joined; name fewer, or omit always")]
    TooManyGroups(u128, usize),
}

impl From<ParseError> for RuleError {
    fn from(error: ParseError) -> Self {
        Self::Text(error)
    }
}

/// Which line of a file is not a valid rule, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct RuleFileError {
    /// The number of the line, from 1 on.
    pub line: usize,
    /// Why it is not a rule.
    pub error: RuleError,
}
