//! What the numbers in events stand for.

use crate::paths::PathSide;
use crate::rule::LegId;

/// The names of the legs and rules of a relay, when they were taken from it.
#[derive(Clone, Debug, Default)]
pub struct RelayNames {
    legs: Vec<String>,
    rules: Vec<String>,
}

impl RelayNames {
    pub(crate) const fn new(legs: Vec<String>, rules: Vec<String>) -> Self {
        Self { legs, rules }
    }

    /// Returns a leg as rules name it; `?` for one that was added later.
    #[must_use]
    pub fn leg(&self, leg: LegId) -> &str {
        self.legs.get(usize::from(leg.0)).map_or("?", String::as_str)
    }

    /// Returns where copies are sent.
    #[must_use]
    pub fn side(&self, side: PathSide) -> String {
        match side {
            PathSide::Leg(leg) => self.leg(leg).to_owned(),
            PathSide::Route(target) => format!("udp://{target}"),
            PathSide::AmtGateways(address) => format!("amt-listen:{address}"),
        }
    }

    /// Returns a rule; `?` for one that was added later.
    #[must_use]
    pub fn rule(&self, rule: usize) -> &str {
        self.rules.get(rule).map_or("?", String::as_str)
    }
}
