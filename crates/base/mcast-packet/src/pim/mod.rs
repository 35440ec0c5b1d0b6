//! PIM version 2, by which multicast routers discover each other and build distribution trees (RFC 7761;
//! bidirectional trees: RFC 5015; bootstrap: RFC 5059).
//!
//! A message borrows its lists, either from received bytes or from slices:
//!
//! ```
//! use mcast_packet::pim::{HelloOption, PimMessage};
//!
//! let options = [HelloOption::HoldTime(105), HelloOption::DrPriority(1)];
//! let hello = PimMessage::Hello((&options).into());
//!
//! let (router, group) = ("10.0.0.1".parse()?, "224.0.0.13".parse()?);
//! let mut buffer = [0; 64];
//! let length = hello.emit(&mut buffer, router, group)?;
//! assert_eq!(PimMessage::parse(&buffer[..length])?, hello);
//! assert_eq!(hello.to_string(), "PIMv2 hello: hold 105 s, DR priority 1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod hello;
mod message;
mod parse;

pub use crate::list::{List, ListIter};
pub use hello::{
    Bootstrap, CandidateRp, EncodedGroup, EncodedSource, GroupMapping, GroupSet, HelloOption, JoinPrune,
    RendezvousPoint,
};
pub use message::{Assert, DfElection, DfStep, Metric, PimMessage, Register};
pub use parse::PimError;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// ALL-PIM-ROUTERS for IPv4, the destination of all messages except unicast ones.
pub const ALL_ROUTERS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 13);

/// ALL-PIM-ROUTERS for IPv6.
pub const ALL_ROUTERS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xd);

/// Returns ALL-PIM-ROUTERS of the family of this address.
#[must_use]
pub const fn all_routers(family_of: IpAddr) -> IpAddr {
    match family_of {
        IpAddr::V4(_) => IpAddr::V4(ALL_ROUTERS_V4),
        IpAddr::V6(_) => IpAddr::V6(ALL_ROUTERS_V6),
    }
}
