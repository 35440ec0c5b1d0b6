//! The topologies that come with the crate.

use super::Topology;
use crate::LabError;

/// The topologies that come with the crate: name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("four-hosts", include_str!("../../topologies/four-hosts.toml")),
    ("two-lans", include_str!("../../topologies/two-lans.toml")),
    ("lossy-link", include_str!("../../topologies/lossy-link.toml")),
    ("price-feed", include_str!("../../topologies/price-feed.toml")),
];

impl Topology {
    /// One of the topologies that come with the crate; `None` if none has this name.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Result<Self, LabError>> {
        let (_, text) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        Some(Self::parse(text))
    }
}
