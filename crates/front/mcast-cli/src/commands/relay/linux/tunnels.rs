//! Tunnels in events, in the summary and in metrics.

use mcast_metrics::{Exposition, MetricKind};
use mcast_relay::driver::{Driver, DriverEvent};
use mcast_tunnel::{DownReason, DropReason, LinkCounts, LinkStatus, RefusedBy};
use serde::Serialize;

use super::json::{EventRecord, RefusedCount};
use super::names::Names;
use crate::output::{count, count_of};

/// Returns an event of a tunnel in words, and what to do about it.
pub(super) fn describe(event: &DriverEvent, names: &Names) -> Option<(String, Option<String>)> {
    let plain = |text: String| Some((text, None));
    match event {
        DriverEvent::TunnelUp { leg, relay, address } => {
            plain(format!("{} is up: relay {relay} at {address}", names.leg(*leg)))
        }
        DriverEvent::TunnelDown { leg, reason } => {
            plain(format!("{} is down: {}", names.leg(*leg), why_down(*reason)))
        }
        DriverEvent::TunnelMoved { leg, address } => {
            plain(format!("the other end of {} is now at {address}", names.leg(*leg)))
        }
        DriverEvent::TunnelRefused { leg, reason } => {
            let (why, remedy) = why_refused(*reason);
            Some((format!("the other end refuses {}: {why}", names.leg(*leg)), Some(remedy.to_owned())))
        }
        DriverEvent::TunnelUnanswered { leg, host } => Some((
            format!("{host} does not answer for {}", names.leg(*leg)),
            Some("check that the relay there runs with --listen-tunnel and the same key file, and that UDP to it passes".into()),
        )),
        DriverEvent::WrongTunnelKey { address, count } => Some((
            format!("{address}{} dials a tunnel with another key", others(*count)),
            Some("give both ends the same key file, and send SIGHUP to both".into()),
        )),
        DriverEvent::UnknownTunnel { name, address, count } => Some((
            format!("{address}{} dials tunnel:{name}, which no rule here names", others(*count)),
            Some(format!("add a rule with tunnel:{name} here, or correct the name there")),
        )),
        _ => None,
    }
}

/// Returns what follows the last of several that are reported together.
pub(super) fn others(count: u64) -> String {
    if count > 1 { format!(", the last of {}", crate::output::count(count)) } else { String::new() }
}

const fn why_down(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Silence => "nothing arrives from its other end",
        DownReason::Goodbye => "its other end has stopped",
        DownReason::KeyRemoved => "its key is no longer in the key file",
        DownReason::Removed => "no rule names it any longer",
    }
}

const fn why_refused(reason: RefusedBy) -> (&'static str, &'static str) {
    match reason {
        RefusedBy::UnknownName => {
            ("no rule there names it", "name it in a rule there, or correct the name here")
        }
        RefusedBy::InUse => (
            "another relay uses it",
            "if that is a second relay of this site, it stands by, and takes over when the first one stops; otherwise \
             give every site a tunnel of its own",
        ),
    }
}

/// Returns an event of a tunnel as a record.
pub(super) fn record(event: &DriverEvent, names: &Names) -> Option<EventRecord> {
    let leg = |leg| Some(names.leg(leg).to_owned());
    Some(match event {
        DriverEvent::TunnelUp { leg: id, relay, address } => EventRecord {
            leg: leg(*id),
            relay: Some(relay.to_string()),
            peer: Some(address.to_string()),
            ..EventRecord::new("tunnel-up")
        },
        DriverEvent::TunnelDown { leg: id, reason } => EventRecord {
            leg: leg(*id),
            reason: Some(why_down(*reason).into()),
            ..EventRecord::new("tunnel-down")
        },
        DriverEvent::TunnelMoved { leg: id, address } => {
            EventRecord { leg: leg(*id), peer: Some(address.to_string()), ..EventRecord::new("tunnel-moved") }
        }
        DriverEvent::TunnelRefused { leg: id, reason } => EventRecord {
            leg: leg(*id),
            reason: Some(why_refused(*reason).0.into()),
            ..EventRecord::new("tunnel-refused")
        },
        DriverEvent::TunnelUnanswered { leg: id, host } => {
            EventRecord { leg: leg(*id), peer: Some(host.clone()), ..EventRecord::new("tunnel-unanswered") }
        }
        DriverEvent::WrongTunnelKey { address, count } => EventRecord {
            peer: Some(address.to_string()),
            count: Some(*count),
            ..EventRecord::new("tunnel-wrong-key")
        },
        DriverEvent::UnknownTunnel { name, address, count } => EventRecord {
            count: Some(*count),
            leg: Some(format!("tunnel:{name}")),
            peer: Some(address.to_string()),
            ..EventRecord::new("tunnel-unknown")
        },
        _ => return None,
    })
}

/// What a tunnel has carried, in the summary.
#[derive(Debug, Serialize)]
pub(super) struct TunnelSummary {
    tunnel: String,
    up: bool,
    peer: Option<String>,
    round_trip_ms: Option<f64>,
    sent: u64,
    received: u64,
    sent_bytes: u64,
    received_bytes: u64,
    repairs_sent: u64,
    repaired: u64,
    lost: u64,
    incomplete: u64,
    malformed: u64,
}

impl From<LinkStatus> for TunnelSummary {
    fn from(status: LinkStatus) -> Self {
        let LinkCounts {
            sent,
            received,
            sent_bytes,
            received_bytes,
            repairs_sent,
            repaired,
            lost,
            incomplete,
            malformed,
        } = status.counts;
        Self {
            tunnel: status.name,
            up: status.peer.is_some(),
            peer: status.peer.map(|(_, address)| address.to_string()),
            round_trip_ms: status.round_trip.map(|time| time.as_secs_f64() * 1e3),
            sent,
            received,
            sent_bytes,
            received_bytes,
            repairs_sent,
            repaired,
            lost,
            incomplete,
            malformed,
        }
    }
}

/// Returns the reasons for which datagrams at the sockets of tunnels were dropped.
pub(super) fn dropped(driver: &Driver) -> Vec<RefusedCount> {
    let of_reason = |(reason, count): (DropReason, u64)| RefusedCount { reason: reason.name(), count };
    driver.dropped_by_tunnels().into_iter().map(of_reason).collect()
}

/// Returns the lines of the summary.
pub(super) fn summary_lines(driver: &Driver) -> impl Iterator<Item = String> {
    let line = |status: LinkStatus| {
        let counts = status.counts;
        let mut text = format!(
            "tunnel:{}: sent {}, received {}",
            status.name,
            count_of(counts.sent, "datagram"),
            count(counts.received)
        );
        for (number, what) in [(counts.repaired, "repaired"), (counts.lost, "lost")] {
            if number > 0 {
                text += &format!(", {what} {}", count(number));
            }
        }
        text
    };
    driver.tunnels().map(line)
}

/// The state of the tunnels, for metrics.
#[derive(Debug, Default)]
pub(super) struct TunnelFigures {
    tunnels: Vec<LinkStatus>,
    dropped: Vec<(DropReason, u64)>,
}

/// A counter of tunnels.
type TunnelMetric = (&'static str, &'static str, fn(&LinkCounts) -> u64);

const TUNNEL_METRICS: [TunnelMetric; 9] = [
    ("mcast_relay_tunnel_sent_total", "Datagrams sent into a tunnel.", |counts| counts.sent),
    ("mcast_relay_tunnel_received_total", "Datagrams received from a tunnel.", |counts| counts.received),
    ("mcast_relay_tunnel_sent_bytes_total", "Bytes sent to the other end.", |counts| counts.sent_bytes),
    ("mcast_relay_tunnel_received_bytes_total", "Bytes received from the other end.", |counts| {
        counts.received_bytes
    }),
    ("mcast_relay_tunnel_repairs_sent_total", "Pieces sent again.", |counts| counts.repairs_sent),
    ("mcast_relay_tunnel_repaired_total", "Missing pieces that arrived in time.", |counts| counts.repaired),
    ("mcast_relay_tunnel_lost_total", "Missing pieces that did not arrive in time.", |counts| counts.lost),
    ("mcast_relay_tunnel_incomplete_total", "Datagrams of which pieces were missing.", |counts| {
        counts.incomplete
    }),
    ("mcast_relay_tunnel_malformed_total", "Records that could not be read.", |counts| counts.malformed),
];

impl TunnelFigures {
    pub(super) fn of(driver: &Driver) -> Self {
        Self { tunnels: driver.tunnels().collect(), dropped: driver.dropped_by_tunnels() }
    }

    pub(super) fn write(&self, out: &mut Exposition) {
        if self.tunnels.is_empty() {
            return;
        }
        let mut family = out.family("mcast_relay_tunnel_up", MetricKind::Gauge, "1 while a tunnel is up.");
        for tunnel in &self.tunnels {
            family.sample(&[("tunnel", &tunnel.name)], u8::from(tunnel.peer.is_some()));
        }
        for (name, help, number) in TUNNEL_METRICS {
            let mut family = out.family(name, MetricKind::Counter, help);
            for tunnel in &self.tunnels {
                family.sample(&[("tunnel", &tunnel.name)], number(&tunnel.counts));
            }
        }
        let help = "Datagrams that were dropped at the sockets of tunnels.";
        let mut family = out.family("mcast_relay_tunnel_dropped_total", MetricKind::Counter, help);
        for (reason, count) in &self.dropped {
            family.sample(&[("reason", &reason.name())], *count);
        }
    }
}
