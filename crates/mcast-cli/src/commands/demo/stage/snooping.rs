//! Act two: a switch with snooping. The same hosts do the same, and the capture no longer sees the datagram.

use std::net::IpAddr;
use std::time::Instant;

use mcast_lab::SwitchOptions;

use super::super::event::Event;
use super::super::narrator::Narrator;
use super::super::receiving::{PATIENCE, SILENCE, left};
use super::flooding::{Listener, listeners, send};
use super::network::Network;
use super::tutorial::{PORT, TEXT, first_group, second_group};
use super::wire::DATAGRAM;

const WHY: &str = "Why: a host that joins sends a report (IGMP). A snooping switch reads it, and forwards a \
    group only to ports with members. Now not even bushwick's capture sees the other group: capturing does \
    not join it.";

pub(super) fn play(narrator: &mut Narrator) -> anyhow::Result<()> {
    let network = Network::new(SwitchOptions::managed())?;
    let (first, second) = (first_group()?, second_group()?);
    narrator.act("snooping", "2  The same on a switch with snooping and a querier")?;

    let mut wire = network.bushwick.capture(PORT)?;
    let hosts = listeners(&network, narrator)?;
    wait_for_reports(&network, &hosts)?;
    check_table(&network, first.group.addr(), &["eastny", "flatbush"], narrator)?;
    check_table(&network, second.group.addr(), &["bushwick"], narrator)?;

    let [eastny, flatbush, bushwick] = &hosts;
    send(&network.midwood, TEXT, first, narrator)?;
    eastny.check_received(TEXT, &network.midwood, narrator)?;
    flatbush.check_received(TEXT, &network.midwood, narrator)?;
    let quiet_until = Instant::now() + SILENCE;
    bushwick.check_silence(quiet_until, narrator)?;
    let interface = network.bushwick.interface();
    let nothing = Event::CapturedNothing { interface, what: DATAGRAM.to_owned() };
    narrator.check("bushwick", &wire.datagram(left(quiet_until))?, &nothing)?;

    send(&network.midwood, "Hello, bushwick!", second, narrator)?;
    bushwick.check_received("Hello, bushwick!", &network.midwood, narrator)?;
    let expected = network.midwood.expected_on(&network.bushwick.port, second);
    narrator.check("bushwick", &wire.datagram(PATIENCE)?, &expected)?;
    narrator.explain(WHY)?;
    Ok(())
}

fn wait_for_reports(network: &Network, hosts: &[Listener<'_>]) -> anyhow::Result<()> {
    for Listener { station, group, .. } in hosts {
        let group = group.group.addr();
        network.switch.wait_for_member(&station.host, &station.port.name, group, PATIENCE)?;
    }
    Ok(())
}

/// Checks for which hosts the switch forwards a group.
fn check_table(
    network: &Network,
    group: IpAddr,
    expected: &[&str],
    narrator: &mut Narrator,
) -> anyhow::Result<()> {
    let members = network.switch.members()?.into_iter().filter(|member| member.group == group);
    let mut hosts: Vec<String> = members.map(|member| member.host).collect();
    hosts.sort();
    let expected = expected.iter().map(ToString::to_string).collect();
    narrator.check("switch", &Event::Learned { group, hosts }, &Event::Learned { group, hosts: expected })?;
    Ok(())
}
