//! Streams that the tests send.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mcast_lab::Host;
use mcast_packet::gmp::{IgmpMessage, Query, SourceQuery, Sources};
use mcast_packet::payload::Rtp;
use mcast_packet::{ControlFrame, MacAddress};
use serde_json::Value;

use crate::support::{Ended, Running, start};

pub(crate) const GROUP: &str = "239.1.2.3:5000";

/// Returns an RTP packet with this sequence number.
pub(crate) fn rtp(sequence: u16) -> Vec<u8> {
    let packet = Rtp {
        marker: false,
        payload_type: 96,
        sequence,
        timestamp: u32::from(sequence) * 900,
        ssrc: 7,
        csrc_count: 0,
        extension: None,
        payload: &[1; 200],
    };
    let mut buffer = [0; 300];
    let length = packet.emit(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// Returns a socket of the host that sends by the route to groups.
pub(crate) fn socket(host: &Host) -> UdpSocket {
    host.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap()
}

/// Injects an IGMPv3 query of 10.0.0.254 with a query interval of one minute on the host's link.
pub(crate) fn send_query(host: &Host) {
    const PROGRAM: &str = "import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
s.send(bytes.fromhex(sys.argv[1]))";
    let query = IgmpMessage::Query(Query {
        group: None,
        max_response_time: Duration::from_secs(10),
        source_query: Some(SourceQuery {
            suppress: false,
            robustness: 2,
            interval: Duration::from_secs(60),
            sources: Sources::none(),
        }),
    });
    let mut buffer = [0; 100];
    let mac = MacAddress([2, 0, 0, 0, 0, 254]);
    let frame = ControlFrame { mac, source: Ipv4Addr::new(10, 0, 0, 254), message: query };
    let length = frame.emit(&mut buffer).unwrap();
    let hexadecimal: String = buffer[..length].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(host.command("python3").unwrap().args(["-c", PROGRAM, &hexadecimal]).status().unwrap().success());
}

/// Starts `mcast top` on a host, and waits until it captures.
pub(crate) fn top(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["top"], arguments].concat());
    running.stderr.wait_for("watching");
    running
}

/// Returns the objects of this kind that were printed, checked against their schema.
pub(crate) fn objects(ended: &Ended, kind: &str) -> Vec<Value> {
    let objects = ended.json();
    for object in &objects {
        crate::schemas::assert_valid(&format!("top-{}", object["event"].as_str().unwrap()), object);
    }
    objects.into_iter().filter(|object| object["event"] == kind).collect()
}

/// Sends RTP fifty times a second until it is dropped, leaving out every tenth.
pub(crate) struct Television {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Television {
    pub(crate) fn start(host: &Host, group: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (is_stopped, socket, group) = (Arc::clone(&stop), socket(host), group.to_owned());
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                if is_stopped.load(Ordering::Acquire) {
                    return;
                }
                if number % 10 != 9 {
                    socket.send_to(&rtp(number as u16), &group).unwrap();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Television {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
