//! What the relays on this machine have not forwarded, as they state it themselves.

use std::collections::BTreeMap;
use std::io;

use mcast_metrics::{fetch_locally, local_exporters, samples};

use crate::snapshot::RelayRefusal;

/// `mcast relay` serves its metrics under this name, with its process id.
const PREFIX: &str = "mcast-relay.";
const METRIC: &str = "mcast_relay_refused_datagrams_total";
/// The number of relays that are asked, and of refusals that are read. Every program may use the name.
const MAX_RELAYS: usize = 8;
const MAX_REFUSALS: usize = 1_000;

pub(super) fn refusals() -> io::Result<BTreeMap<RelayRefusal, u64>> {
    let mut refusals = BTreeMap::new();
    for name in local_exporters(PREFIX)?.into_iter().take(MAX_RELAYS) {
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|pid| pid.parse().ok()) else { continue };
        // A relay may end meanwhile.
        let text = match fetch_locally(&name) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            text => text?,
        };
        for (labels, count) in samples(&text, METRIC) {
            let label = |name| {
                let found = labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.clone());
                found.filter(|value| value.len() < 1_000 && !value.contains(char::is_control))
            };
            let (Some(rule), Some(reason)) = (label("rule"), label("reason")) else { continue };
            if refusals.len() < MAX_REFUSALS {
                refusals.insert(RelayRefusal { pid, rule, reason }, count);
            }
        }
    }
    Ok(refusals)
}
