//! A membership: what one joins, as one value with one text form.

use core::fmt;
use core::str::FromStr;

use crate::text::{check_families, parse_sources, parse_target, split_sources, write_target};
use crate::{Destination, GroupAddr, InterfaceSelector, ParseError, SourceFilter};

/// What one joins: a group and port, the interfaces to join on, and the sources to admit.
///
/// Text form: `[SOURCE[,SOURCE…]@]GROUP[%INTERFACE]:PORT`, with a leading `!` to exclude the
/// sources instead: `239.1.2.3:5000`, `[ff15::1%eth1]:5000`, `10.0.0.7@232.1.2.3%eth1:5000`,
/// `!10.0.0.9@239.1.2.3:5000`. What `Display` writes is read back exactly; only a filter that admits
/// nobody, which is no membership, is written but not read.
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_text_form_says_sources_group_interface_and_port() {
        let membership: Membership = "!10.0.0.9,10.0.0.8@239.1.2.3%eth1:5000".parse().unwrap();
        let excluded = ["10.0.0.8", "10.0.0.9"].map(|source| source.parse().unwrap());
        assert_eq!(membership.sources, SourceFilter::Exclude(excluded.into()));
        assert_eq!(membership.interface, Some(InterfaceSelector::Name("eth1".to_string())));
        assert_eq!(membership.address.to_string(), "239.1.2.3:5000");
        assert_eq!(membership.to_string(), "!10.0.0.8,10.0.0.9@239.1.2.3%eth1:5000");
    }

    #[test]
    fn what_only_a_command_line_may_say_is_refused() {
        for text in
            ["mdns", "239.1.2.0/28:5000", "239.1.2.3+2:5000", "239.1.2.3:5000-5001", "[ff15::1]+2:5000"]
        {
            assert!(text.parse::<Membership>().is_err(), "{text}");
        }
    }

    #[test]
    fn admitting_nobody_has_no_text_that_could_be_read() {
        let address = "239.1.2.3:5000".parse().unwrap();
        let nobody = Membership::new(address).from_sources(SourceFilter::NONE).to_string();
        let error = nobody.parse::<Membership>().unwrap_err();
        assert_eq!(error.problem(), "names no source before the @");
        assert_eq!(error.remedy(), Some("SOURCE@GROUP:PORT, or GROUP:PORT to admit every source"));
    }
}
