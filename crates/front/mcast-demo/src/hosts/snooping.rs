//! Act two: a switch with snooping. The same hosts do the same, and the capture no longer sees the datagram.

use std::net::IpAddr;
use std::time::Instant;

use mcast_capture::Filter;
use mcast_lab::SwitchOptions;

use super::network::Network;
use super::tutorial::{PORT, SECOND_TEXT, TEXT, first_group, second_group};
use crate::listener::{SILENCE, TIMEOUT, left};
use crate::stage::{Scene, Stage};
use crate::{DemoError, Event};

const WHY: &str = "Why: a host that joins sends a report (IGMP). A snooping switch reads it, and forwards a \
    group only to ports with members. Now not even bushwick's capture sees the other group: capturing does \
    not join it.";

pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let network = Network::new(SwitchOptions::managed())?;
    let (first, second) = (first_group()?, second_group()?);
    stage.show(Scene::Act {
        name: "snooping",
        title: "2  The same on a switch with snooping and a querier",
    })?;

    let mut wires = network.bushwick.capture(Filter::UdpPort(PORT))?;
    let [eastny, flatbush, bushwick] = &network.listen(stage)?;
    let members = [(&network.eastny, eastny), (&network.flatbush, flatbush), (&network.bushwick, bushwick)];
    for (station, listener) in members {
        network.switch.wait_for_member(&station.host, "eth0", listener.group.group.addr(), TIMEOUT)?;
    }
    check_table(&network, first.group.addr(), &["eastny", "flatbush"], stage)?;
    check_table(&network, second.group.addr(), &["bushwick"], stage)?;

    network.midwood.send(TEXT, first, stage)?;
    eastny.check_received(TEXT, "eth0", stage)?;
    flatbush.check_received(TEXT, "eth0", stage)?;
    let quiet_until = Instant::now() + SILENCE;
    bushwick.check_silence(quiet_until, stage)?;
    for wire in &mut wires {
        stage.check("bushwick", &wire.datagram(left(quiet_until))?, &wire.no_datagram())?;
    }

    network.midwood.send(SECOND_TEXT, second, stage)?;
    bushwick.check_received(SECOND_TEXT, "eth0", stage)?;
    let expected = Event::captured("eth0", network.midwood.datagram_to(second), Vec::new());
    for wire in &mut wires {
        stage.check("bushwick", &wire.datagram(TIMEOUT)?, &expected)?;
    }
    Ok(stage.show(Scene::Explanation(WHY))?)
}

/// Checks for which hosts the switch forwards a group.
fn check_table(
    network: &Network,
    group: IpAddr,
    expected: &[&str],
    stage: &mut Stage<'_>,
) -> Result<(), DemoError> {
    let members = network.switch.members()?.into_iter().filter(|member| member.group == group);
    let mut hosts: Vec<String> = members.map(|member| member.host).collect();
    hosts.sort();
    let expected = expected.iter().map(ToString::to_string).collect();
    Ok(stage.check("switch", &Event::Learned { group, hosts }, &Event::Learned { group, hosts: expected })?)
}
