//! `--check`: what would be forwarded, and which other relays are here.

use mcast_relay::driver::{CheckReport, Driver};
use mcast_relay::http::HttpRule;
use mcast_relay::{PairState, PairStatus, PathSide, PeerStatus, RelayId};
use mcast_terminal::Console;
use mcast_tunnel::LinkStatus;

use super::json::EventRecord;
use super::names::Names;
use super::text::EventPrinter;
use crate::exit::Outcome;

pub(super) fn run(mut driver: Driver, json: bool, console: &Console) -> anyhow::Result<Outcome> {
    let names = Names::of(driver.relay());
    let mut printer = EventPrinter::new(json, console);
    while let Some(event) = driver.next_event() {
        printer.print(&event, &names)?;
    }
    console.note("listening for other relays");
    let CheckReport { pairs, peers, tunnels, http } = driver.check()?;
    peers.iter().try_for_each(|peer| printer.print_record(of_peer(peer, &names)))?;
    peers
        .iter()
        .filter_map(|peer| of_chain(peer, &pairs, &names))
        .try_for_each(|it| printer.print_record(it))?;
    tunnels.iter().try_for_each(|tunnel| printer.print_record(of_tunnel(tunnel)))?;
    pairs.iter().try_for_each(|pair| printer.print_record(of_pair(pair, &names)))?;
    http.iter().try_for_each(|rule| printer.print_record(of_http(rule, &names)))?;
    let can_forward = pairs.iter().all(|pair| pair.state != PairState::Down);
    Ok(Outcome::of(can_forward && http.iter().all(|rule| rule.is_up)))
}

fn of_http(rule: &HttpRule, names: &Names) -> EventRecord {
    let (from, to, text) = (&rule.leg_name, format!("http://{}", rule.listener), names.rule(rule.rule));
    let (event, text) = match rule.is_up {
        true => ("would-serve", format!("would serve from {from} at {to}, while clients request it: {text}")),
        false => {
            ("cannot-serve", format!("cannot serve from {from} at {to}, the interface is unusable: {text}"))
        }
    };
    EventRecord {
        rule: Some(names.rule(rule.rule).to_owned()),
        from: Some(from.clone()),
        to: Some(to),
        text,
        ..EventRecord::new(event)
    }
}

fn of_peer(peer: &PeerStatus, names: &Names) -> EventRecord {
    let legs: Vec<_> = peer.legs.iter().map(|leg| names.leg(*leg)).collect();
    let addresses: Vec<_> = peer.addresses.iter().map(ToString::to_string).collect();
    EventRecord {
        relay: Some(peer.relay.to_string()),
        priority: Some(peer.priority),
        addresses: Some(peer.addresses.clone()),
        leg: peer.legs.first().map(|leg| names.leg(*leg).to_owned()),
        text: format!(
            "relay {} with priority {} is on {}: {}",
            peer.relay,
            peer.priority,
            legs.join(", "),
            addresses.join(", ")
        ),
        ..EventRecord::new("relay-appeared")
    }
}

/// A relay that is on the leg that a rule forwards from, but not on the one that it forwards to.
fn of_chain(peer: &PeerStatus, pairs: &[PairStatus], names: &Names) -> Option<EventRecord> {
    let is_chain = |pair: &&PairStatus| {
        peer.legs.contains(&pair.from) && matches!(pair.to, PathSide::Leg(to) if !peer.legs.contains(&to))
    };
    let pair = pairs.iter().find(is_chain)?;
    let (from, to, relay) = (names.leg(pair.from), names.side(pair.to), peer.relay);
    Some(EventRecord {
        rule: Some(names.rule(pair.rule).to_owned()),
        text: format!(
            "relay {relay} is on {from} but not on {to}: the copies that it sends on {from} would not be forwarded to {to}"
        ),
        relay: Some(relay.to_string()),
        remedy: Some("forward from where their sources are, or connect the relays by a tunnel".into()),
        from: Some(from.to_owned()),
        to: Some(to),
        ..EventRecord::new("chain-found")
    })
}

fn of_tunnel(tunnel: &LinkStatus) -> EventRecord {
    let leg = format!("tunnel:{}", tunnel.name);
    match tunnel.peer {
        Some((relay, address)) => EventRecord {
            text: format!("{leg} is up: relay {} at {address}", RelayId(relay)),
            leg: Some(leg),
            relay: Some(RelayId(relay).to_string()),
            peer: Some(address.to_string()),
            ..EventRecord::new("tunnel-up")
        },
        None => EventRecord {
            text: format!("{leg} is down: its other end does not answer or dial, or refuses it"),
            leg: Some(leg),
            ..EventRecord::new("tunnel-down")
        },
    }
}

fn of_pair(pair: &PairStatus, names: &Names) -> EventRecord {
    let (rule, from, to) = (names.rule(pair.rule), names.leg(pair.from), names.side(pair.to));
    let (event, relay, text) = match pair.state {
        PairState::Forwarding | PairState::Listening { .. } => {
            ("would-forward", None, format!("would forward from {from} to {to}: {rule}"))
        }
        PairState::Standby(relay) => {
            let text = format!("would stand by from {from} to {to}, relay {relay} forwards: {rule}");
            ("would-stand-by", Some(relay.to_string()), text)
        }
        PairState::Down => {
            let text = format!(
                "cannot forward from {from} to {to}, an interface or tunnel is unusable or both are on the same segment: {rule}"
            );
            ("cannot-forward", None, text)
        }
    };
    EventRecord {
        rule: Some(rule.to_owned()),
        from: Some(from.to_owned()),
        to: Some(to),
        relay,
        text,
        ..EventRecord::new(event)
    }
}
