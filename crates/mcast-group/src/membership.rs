//! A membership: what one joins, as one value with one text form.

use core::fmt;
use core::str::FromStr;

use crate::text::{check_families, parse_sources, parse_target, split_sources, write_target};
use crate::{Destination, GroupAddr, InterfaceSelector, ParseError, SourceFilter};

/// What one joins: a group and port, the interfaces to join on, and the sources to admit.
///
/// Text form: `[SOURCE[,SOURCE…]@]GROUP[%INTERFACE]:PORT`, with a leading `!` to exclude the
/// sources instead: `239.1.2.3:5000`, `[ff15::1%eth1]:5000`, `10.0.0.7@232.1.2.3%eth1:5000`,
/// `!10.0.0.9@239.1.2.3:5000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership {
    /// The group and port.
    pub address: GroupAddr,
    /// Where to join; `None` leaves it to the receiver's own default.
    pub interface: Option<InterfaceSelector>,
    /// The sources to admit.
    pub sources: SourceFilter,
}

impl Membership {
    /// An any-source membership on the receiver's default interfaces.
    #[must_use]
    pub const fn new(address: GroupAddr) -> Self {
        Self { address, interface: None, sources: SourceFilter::ANY }
    }

    /// The same on this interface.
    #[must_use]
    pub fn on(self, interface: InterfaceSelector) -> Self {
        Self { interface: Some(interface), ..self }
    }

    /// The same for these sources.
    #[must_use]
    pub fn from_sources(self, sources: SourceFilter) -> Self {
        Self { sources, ..self }
    }
}

impl From<GroupAddr> for Membership {
    fn from(address: GroupAddr) -> Self {
        Self::new(address)
    }
}

impl From<Destination> for Membership {
    fn from(destination: Destination) -> Self {
        Self { interface: destination.interface, ..Self::new(destination.address) }
    }
}

impl FromStr for Membership {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|error| error.within(text))
    }
}

fn parse(text: &str) -> Result<Membership, ParseError> {
    let (sources, target) = split_sources(text);
    let sources = sources.map_or(Ok(SourceFilter::ANY), parse_sources)?;
    let (group, interface, port) = parse_target(target)?;
    check_families(&sources, group)?;
    Ok(Membership { address: GroupAddr::new(group, port), interface, sources })
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.sources.is_any() {
            if matches!(self.sources, SourceFilter::Exclude(_)) {
                f.write_str("!")?;
            }
            for (position, source) in self.sources.sources().enumerate() {
                if position > 0 {
                    f.write_str(",")?;
                }
                write!(f, "{source}")?;
            }
            f.write_str("@")?;
        }
        write_target(f, self.address.group, self.interface.as_ref(), self.address.port)
    }
}
