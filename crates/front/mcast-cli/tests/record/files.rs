//! The content of capture files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mcast_capture::{CaptureFile, FileErrorKind};
use mcast_lab::Host;

use crate::support::{MCAST, Running, program, start};

/// A UDP datagram of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) time: SystemTime,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) hop_limit: u8,
    pub(crate) dscp: u8,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// The datagrams of a file that must be whole.
pub(crate) fn read(path: &Path) -> Vec<Datagram> {
    let (datagrams, cut_off) = read_as_far_as_it_goes(path);
    assert!(!cut_off, "{} is cut off", path.display());
    datagrams
}

/// The datagrams of a file, and whether it ends within a record.
pub(crate) fn read_as_far_as_it_goes(path: &Path) -> (Vec<Datagram>, bool) {
    let mut file = CaptureFile::open(path).unwrap();
    let mut datagrams = Vec::new();
    loop {
        let frame = match file.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return (datagrams, false),
            Err(error) if matches!(error.kind(), FileErrorKind::Truncated { .. }) => {
                return (datagrams, true);
            }
            Err(error) => panic!("{error}"),
        };
        let packet = frame.packet();
        assert!(packet.malformed.is_none(), "{packet:?}");
        let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { panic!("{packet:?}") };
        assert!(!udp.checksum.is_invalid(), "{packet:?}");
        datagrams.push(Datagram {
            time: frame.time,
            source: SocketAddr::new(ip.source, udp.source_port),
            destination: SocketAddr::new(ip.destination, udp.destination_port),
            hop_limit: ip.hop_limit,
            dscp: ip.dscp,
            payload: udp.payload.to_vec(),
        });
    }
}

/// `mcast record` with these arguments on a host, once it records.
pub(crate) fn record(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["record"], arguments].concat());
    running.stderr.wait_for("recording from");
    running
}

/// Starts it without the right to capture.
pub(crate) fn record_without_rights(host: &Host, arguments: &[&str]) -> Running {
    let drop = ["--bounding-set=-net_raw", "--inh-caps=-net_raw", MCAST, "record"];
    let running = program(host, "setpriv", &[&drop, arguments].concat(), false);
    running.stderr.wait_for("recording from");
    running
}

/// The capture files in a folder, by name.
pub(crate) fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "pcapng")).collect();
    paths.sort();
    paths
}
