//! Names of legs, sides and rules in events.

use mcast_relay::{LegId, PathSide, Relay};

/// What the numbers in events stand for.
#[derive(Clone, Debug)]
pub(super) struct Names {
    legs: Vec<String>,
    rules: Vec<String>,
}

impl Names {
    pub(super) fn of(relay: &Relay) -> Self {
        Self {
            legs: relay.legs().map(|(_, leg)| leg.to_string()).collect(),
            rules: relay.rules().map(|(rule, _)| rule.to_string()).collect(),
        }
    }

    pub(super) fn leg(&self, leg: LegId) -> &str {
        self.legs.get(usize::from(leg.0)).map_or("?", String::as_str)
    }

    pub(super) fn side(&self, side: PathSide) -> String {
        match side {
            PathSide::Leg(leg) => self.leg(leg).to_owned(),
            PathSide::Route(target) => format!("udp://{target}"),
            PathSide::AmtGateways(address) => format!("amt-listen:{address}"),
        }
    }

    pub(super) fn rule(&self, rule: usize) -> &str {
        self.rules.get(rule).map_or("?", String::as_str)
    }
}
