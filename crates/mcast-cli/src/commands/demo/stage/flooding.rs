//! Act one: a switch that floods. All network cards see the datagram, and only members receive it.

use std::time::Instant;

use mcast::{GroupAddr, Receiver};
use mcast_lab::SwitchOptions;

use super::super::event::Event;
use super::super::narrator::Narrator;
use super::super::receiving::{PATIENCE, SILENCE, joined, left};
use super::network::{Network, SOURCE_PORT, Station};
use super::tutorial::{DIFFERENCES, PORT, TEXT, differences, first_group, second_group};

const PICTURE: &str = "
    eastny            midwood           flatbush          bushwick
    192.168.56.101    192.168.56.103    192.168.56.104    192.168.56.105
    receives          sends to          receives          receives 234.3.2.1
    224.1.1.5         224.1.1.5         224.1.1.5         and captures
        │                 │                 │                 │
    ────┴─────────────────┴─────────────────┴─────────────────┴────  one switch
";

const WHY: &str = "Why: this switch does not know groups and copies every frame to all ports. So bushwick's \
    capture, which shows what its network card receives, contains it. Its receiver joined another group, and \
    receives only what is sent to that group:";

/// A host with a receiver.
pub(super) struct Listener<'a> {
    pub(super) station: &'a Station,
    pub(super) receiver: Receiver,
    pub(super) group: GroupAddr,
}

pub(super) fn play(narrator: &mut Narrator) -> anyhow::Result<()> {
    let network = Network::new(SwitchOptions::default())?;
    let (first, second) = (first_group()?, second_group()?);
    narrator.draw(PICTURE)?;
    narrator.act("flooding", "1  A switch that floods")?;

    let mut wire = network.bushwick.capture(PORT)?;
    let [eastny, flatbush, bushwick] = &listeners(&network, narrator)?;
    send(&network.midwood, TEXT, first, narrator)?;
    eastny.check_received(TEXT, &network.midwood, narrator)?;
    flatbush.check_received(TEXT, &network.midwood, narrator)?;
    bushwick.check_silence(Instant::now() + SILENCE, narrator)?;
    let captured = wire.frame(PATIENCE)?;
    narrator.check("bushwick", &captured, &expected_frame(&network, first, &captured))?;
    compare(&captured, narrator)?;
    narrator.explain(WHY)?;

    send(&network.midwood, "Hello, bushwick!", second, narrator)?;
    bushwick.check_received("Hello, bushwick!", &network.midwood, narrator)?;
    let quiet_until = Instant::now() + SILENCE;
    eastny.check_silence(quiet_until, narrator)?;
    flatbush.check_silence(quiet_until, narrator)
}

/// Joins on the three receiving hosts, and reports it.
pub(super) fn listeners<'a>(
    network: &'a Network,
    narrator: &mut Narrator,
) -> anyhow::Result<[Listener<'a>; 3]> {
    let (first, second) = (first_group()?, second_group()?);
    let mut listen = |station, group| Listener::new(station, group, narrator);
    Ok([
        listen(&network.eastny, first)?,
        listen(&network.flatbush, first)?,
        listen(&network.bushwick, second)?,
    ])
}

/// Sends a datagram, and reports it.
pub(super) fn send(
    station: &Station,
    text: &str,
    to: GroupAddr,
    narrator: &mut Narrator,
) -> anyhow::Result<()> {
    station.send(text, to)?;
    let sent = Event::Sent { group: to.into(), interface: station.interface(), text: text.to_owned() };
    narrator.report(station.host.name(), &sent)?;
    Ok(())
}

/// Returns the expected event of the capture. Its bytes are those captured, which [`compare`] checks.
fn expected_frame(network: &Network, to: GroupAddr, captured: &Event) -> Event {
    let source = network.midwood.address();
    Event::Captured {
        interface: network.bushwick.interface(),
        summary: format!("Ether / IP / UDP {source}:{SOURCE_PORT} > {to} / Raw"),
        bytes: captured.bytes().to_vec(),
    }
}

fn compare(captured: &Event, narrator: &mut Narrator) -> anyhow::Result<()> {
    let observed = Event::Compared { differences: differences(captured.bytes()) };
    narrator.check("bushwick", &observed, &Event::Compared { differences: DIFFERENCES.to_vec() })?;
    Ok(())
}

impl<'a> Listener<'a> {
    fn new(station: &'a Station, group: GroupAddr, narrator: &mut Narrator) -> anyhow::Result<Self> {
        let receiver = station.receiver(group.into())?;
        let expected = Event::Joined { group: group.into(), interfaces: vec![station.interface()] };
        narrator.check(station.host.name(), &joined(&receiver, group), &expected)?;
        Ok(Self { station, receiver, group })
    }

    /// Checks that the receiver receives this text from that host.
    pub(super) fn check_received(
        &self,
        text: &str,
        from: &Station,
        narrator: &mut Narrator,
    ) -> anyhow::Result<()> {
        let expected = Event::Received {
            group: self.group.into(),
            interface: self.station.interface(),
            source: from.address(),
            ttl: Some(1),
            text: text.to_owned(),
        };
        let observed = self.station.receive(&self.receiver, self.group, PATIENCE)?;
        narrator.check(self.station.host.name(), &observed, &expected)?;
        Ok(())
    }

    /// Checks that the receiver receives nothing.
    pub(super) fn check_silence(&self, until: Instant, narrator: &mut Narrator) -> anyhow::Result<()> {
        let observed = self.station.receive(&self.receiver, self.group, left(until))?;
        let expected = Event::ReceivedNothing { group: self.group.into() };
        narrator.check(self.station.host.name(), &observed, &expected)?;
        Ok(())
    }
}
