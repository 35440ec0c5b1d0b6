//! A publisher on a host, and bridges on others, each behind a link of its own.

use mcast_lab::{BadLink, Host, Impairment, Lab};

use crate::engine::Engine;
use crate::support::{MCAST, Running, program, start};

pub(crate) struct Network {
    pub(crate) lab: Lab,
    pub(crate) publisher: Host,
    pub(crate) bridges: [Host; 2],
    pub(crate) links: [BadLink; 2],
    /// The host of an engine, which the bridges reach without loss.
    pub(crate) engine: Host,
}

/// The groups of the two links: redundant paths of one stream.
const GROUPS: [&str; 2] = ["239.1.2.3%eth0:7000", "239.1.2.4%eth1:7000"];

/// The address of the host of an engine.
pub(crate) const ENGINE: &str = "10.9.0.9";

impl Network {
    pub(crate) fn new(losses: [f64; 2]) -> Self {
        let lab = Lab::new().unwrap();
        let publisher = lab.host("p").unwrap();
        let bridges = [lab.host("b0").unwrap(), lab.host("b1").unwrap()];
        let links = [0, 1].map(|index| {
            let impairment = Impairment { loss: losses[index], ..Impairment::default() };
            let (near, far) = (format!("10.0.{index}.1/24"), format!("10.0.{index}.2/24"));
            let interface = format!("eth{index}");
            lab.bad_link(&publisher, &interface, &[&near], &bridges[index], "eth0", &[&far], impairment)
                .unwrap()
        });
        let engine = lab.host("e").unwrap();
        let switch = lab.switch("engines").unwrap();
        engine.connect("eth0", &switch, &[&format!("{ENGINE}/24")]).unwrap();
        for (index, bridge) in bridges.iter().enumerate() {
            bridge.connect("engine", &switch, &[&format!("10.9.0.{}/24", index + 1)]).unwrap();
        }
        Self { lab, publisher, bridges, links, engine }
    }

    /// Starts `mcast publish` on both paths, with its standard input open.
    pub(crate) fn publish(&self, options: &[&str]) -> Running {
        let arguments = ["publish", GROUPS[0], "--path", GROUPS[1], "--name", "prices"];
        program(&self.publisher, MCAST, &[&arguments, options].concat(), true)
    }

    /// Starts a bridge, and waits until it is connected to the engine.
    pub(crate) fn bridge(&self, index: usize, engine: &impl Engine, options: &[&str]) -> Running {
        let running = self.start_bridge(index, &engine.url(), options);
        running.stdout.wait_for(r#""event":"connected""#);
        running
    }

    pub(crate) fn start_bridge(&self, index: usize, url: &str, options: &[&str]) -> Running {
        let group = GROUPS[index].replace("eth1", "eth0");
        let arguments = ["bridge", &group, "to", url, "--name", "prices", "--json"];
        start(&self.bridges[index], &[&arguments, options].concat())
    }
}

/// Returns the text of a message.
pub(crate) fn text(number: u64) -> String {
    format!("message {number} {}", "x".repeat((number % 50) as usize))
}

/// Writes messages to a publisher, from this number on.
pub(crate) fn write(publisher: &mut Running, numbers: std::ops::Range<u64>) {
    use std::io::Write;
    let lines: String = numbers.map(|number| text(number) + "\n").collect();
    publisher.child.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
}

/// Closes the input of a publisher, so that it ends its stream.
pub(crate) fn close(publisher: &mut Running) {
    drop(publisher.child.stdin.take());
}
