//! Act one: a switch that floods. All network cards see the datagram, and only members receive it.

use std::time::Instant;

use mcast_capture::Filter;
use mcast_lab::SwitchOptions;

use super::network::Network;
use super::tutorial::{DIFFERENCES, PORT, SECOND_TEXT, TEXT, differences, first_group, second_group};
use crate::listener::{SILENCE, TIMEOUT};
use crate::stage::{Scene, Stage};
use crate::{DemoError, Event};

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

pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    let network = Network::new(SwitchOptions::default())?;
    let (first, second) = (first_group()?, second_group()?);
    stage.show(Scene::Picture(PICTURE))?;
    stage.show(Scene::Act { name: "flooding", title: "1  A switch that floods" })?;

    let mut wires = network.bushwick.capture(Filter::UdpPort(PORT))?;
    let [eastny, flatbush, bushwick] = &network.listen(stage)?;
    network.midwood.send(TEXT, first, stage)?;
    eastny.check_received(TEXT, "eth0", stage)?;
    flatbush.check_received(TEXT, "eth0", stage)?;
    bushwick.check_silence(Instant::now() + SILENCE, stage)?;
    for wire in &mut wires {
        let summary = format!("Ether / IP / {} / Raw", network.midwood.datagram_to(first));
        let captured = wire.frame(TIMEOUT)?;
        // Its bytes are compared with the tutorial's in the next step.
        let expected = Event::captured("eth0", summary, captured.bytes().to_vec());
        stage.check("bushwick", &captured, &expected)?;
        let compared = Event::Compared { differences: differences(captured.bytes()) };
        stage.check("bushwick", &compared, &Event::Compared { differences: DIFFERENCES.to_vec() })?;
    }
    stage.show(Scene::Explanation(WHY))?;

    network.midwood.send(SECOND_TEXT, second, stage)?;
    bushwick.check_received(SECOND_TEXT, "eth0", stage)?;
    let quiet_until = Instant::now() + SILENCE;
    eastny.check_silence(quiet_until, stage)?;
    flatbush.check_silence(quiet_until, stage)
}
