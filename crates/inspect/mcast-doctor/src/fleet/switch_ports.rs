//! Listens for LLDP: the switch ports that the interfaces of this machine are connected to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_packet::{Lldp, Network, ether_type};

use super::message::SwitchPort;

/// The longest wait before a check whether to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum number of ports.
const MAX_PORTS: usize = 256;

/// The switch ports that LLDP has named so far, by interface and chassis. A switch that forwards LLDP, instead of sending
/// its own, lets an interface hear several.
#[derive(Debug, Default)]
pub(super) struct SwitchPorts(Mutex<BTreeMap<Key, SwitchPort>>);

/// An interface and a chassis.
type Key = (String, String);

impl SwitchPorts {
    /// Records the LLDP of these interfaces until `is_stopped`. Ends at once without the right to capture.
    pub(super) fn listen(&self, interfaces: &[String], is_stopped: &AtomicBool) {
        let options = CaptureOptions::on_names(interfaces).filter(Filter::GroupAddressed);
        let Ok(mut capture) = Capture::open(options.all_multicast(true).outgoing(false)) else { return };
        while !is_stopped.load(Ordering::Relaxed) {
            let Ok(Some(frame)) = capture.next(Some(POLL_INTERVAL)) else { continue };
            let Some(Network::Other { ether_type: ether_type::LLDP, payload }) = frame.packet().network
            else {
                continue;
            };
            if let (Some(unit), Some(interface)) = (Lldp::parse(payload), frame.interface_name) {
                self.record(interface, &unit);
            }
        }
    }

    fn record(&self, interface: &str, unit: &Lldp<'_>) {
        let mut ports = self.ports();
        let key = (interface.to_owned(), unit.chassis.to_string());
        if unit.lifetime == 0 {
            ports.remove(&key);
        } else if ports.len() < MAX_PORTS || ports.contains_key(&key) {
            ports.insert(key, switch_port(interface, unit));
        }
    }

    /// Returns the ports named so far.
    pub(super) fn all(&self) -> Vec<SwitchPort> {
        self.ports().values().cloned().collect()
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<Key, SwitchPort>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn switch_port(interface: &str, unit: &Lldp<'_>) -> SwitchPort {
    let text = unit.to_string();
    // A data unit writes itself as `PORT of SWITCH`.
    let switch = unit.system_name.map_or_else(|| unit.chassis.to_string(), |name| name.to_string());
    let port = text.strip_suffix(&format!(" of {switch}")).unwrap_or(&text).to_owned();
    SwitchPort { interface: interface.to_owned(), switch, port }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::FleetMatrix;
    use super::*;

    #[test]
    fn a_withdrawn_port_is_forgotten() {
        let ports = SwitchPorts::default();
        let unit = |lifetime: u8| {
            [&[2, 2, 7, b'c', 4, 2, 5, b'p', 6, 2, 0][..], &[lifetime], &[10, 3], b"sw3", &[0, 0]].concat()
        };
        ports.record("eth0", &Lldp::parse(&unit(120)).unwrap());
        let expected = SwitchPort { interface: "eth0".into(), switch: "sw3".into(), port: "p".into() };
        assert_eq!(ports.all(), [expected]);
        ports.record("eth0", &Lldp::parse(&unit(0)).unwrap());
        assert_eq!(ports.all(), []);
    }

    #[test]
    fn an_interface_behind_a_switch_that_forwards_lldp_has_several_ports() {
        let ports = SwitchPorts::default();
        for chassis in *b"cd" {
            let unit = [2, 2, 7, chassis, 4, 2, 5, chassis, 6, 2, 0, 120, 0, 0];
            ports.record("eth0", &Lldp::parse(&unit).unwrap());
        }
        assert_eq!(ports.all().len(), 2);
        let matrix = FleetMatrix { switch_ports: vec![ports.all()], ..FleetMatrix::default() };
        assert_eq!(matrix.ports_of(0).unwrap(), "c of c or d of d");
        assert_eq!(matrix.switch_of(0), None);
    }
}
