//! A relay on the examined machine. Its process is played by this one: the tests of `mcast relay` use the command itself.

use std::sync::atomic::{AtomicU64, Ordering};

use mcast_doctor::Report;
use mcast_lab::Host;
use mcast_metrics::{Exposition, MetricKind, serve_locally};

use crate::net::{Net, examine, examine_host};

crate::table::cases! {
    not_relayed: NotRelayed, "a relay whose datagrams have TTL 1, the group examined there", ttl_used_up;
    not_relayed_of_machine: NotRelayed, "a relay with datagrams above the rate of a rule, machine examined, IPv6", above_the_rate;
}

/// Serves the refusals of a relay on a host: `more` at every request.
fn relay(host: &Host, rule: &'static str, reason: &'static str, more: u64) {
    let count = AtomicU64::new(0);
    let figures = move || {
        let mut out = Exposition::default();
        let family = out.family("mcast_relay_refused_datagrams_total", MetricKind::Counter, "Refused.");
        let count = count.fetch_add(more, Ordering::Relaxed) + more;
        family.sample(&[("rule", &rule), ("reason", &reason)], count);
        out
    };
    host.run(|| serve_locally(&format!("mcast-relay.{}", std::process::id()), figures)).unwrap().unwrap();
}

/// Datagrams whose TTL is used up.
pub(crate) fn ttl_used_up() -> Report {
    let net = Net::new();
    relay(&net.receiver, "239.1.2.3:5000 from eth0 to eth1", "hop-limit", 17);
    let _stream = crate::net::Stream::to(&net.sender, "239.1.2.3:5000");
    examine(&net.receiver, "239.1.2.3%eth0:5000")
}

/// Datagrams above the rate of a rule, earlier.
pub(crate) fn above_the_rate() -> Report {
    let net = Net::new();
    relay(&net.receiver, "[ff15::1234]:5000 from eth0 to eth1 rate 1mbit", "rate-limit", 3);
    examine_host(&net.receiver)
}

/// A relay that refuses only what it should.
#[test]
fn relay_that_stands_by_is_healthy() {
    let net = Net::new();
    relay(&net.receiver, "239.1.2.3:5000 from eth0 to eth1", "standby", 17);
    crate::net::assert_received(&net.examine("239.1.2.3:5000", "239.1.2.3%eth0:5000"));
}
