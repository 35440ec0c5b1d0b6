//! One stream on its way to a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use mcast_capture::{CaptureWriter, Frame, WriteFormat};
use mcast_packet::{Packet, Transport};
use mcast_watch::StreamKey;

use crate::output::rfc3339;

/// A stream that is written to a pcapng file.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) key: StreamKey,
    pub(super) path: PathBuf,
    writer: CaptureWriter,
    interface: String,
    /// What went wrong, once it has.
    pub(super) failure: Option<String>,
}

impl Recording {
    /// Begins a new file. One that is there already stays as it is: then this fails.
    pub(super) fn start(key: StreamKey, path: PathBuf, interface: String) -> anyhow::Result<Self> {
        let writer = create(&path)?;
        Ok(Self { key, path, writer, interface, failure: None })
    }

    /// Takes a frame in if it belongs to the stream, or is a later piece of a datagram that may.
    pub(super) fn take(&mut self, frame: &Frame<'_>, packet: &Packet<'_>, key: Option<StreamKey>) {
        let is_meant = key == Some(self.key) || (key.is_none() && self.may_be_a_piece(frame, packet));
        if !is_meant || self.failure.is_some() {
            return;
        }
        let told = self.writer.describe(frame.interface, &self.interface, frame.link_type);
        if let Err(error) = told.and_then(|()| self.writer.write(frame)) {
            self.failure = Some(error.to_string());
        }
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) {
        if let Err(error) = self.writer.flush()
            && self.failure.is_none()
        {
            self.failure = Some(error.to_string());
        }
    }

    /// Frames that were written.
    pub(super) fn frames(&self) -> u64 {
        self.writer.frames()
    }

    fn may_be_a_piece(&self, frame: &Frame<'_>, packet: &Packet<'_>) -> bool {
        let is_piece = matches!(packet.transport, Some(Transport::Fragment(_)));
        let ends = packet.ip_layer().map(|ip| (ip.source, ip.destination));
        is_piece
            && frame.interface == self.key.interface
            && ends == Some((self.key.source, self.key.group.addr()))
    }
}

/// `mcast-239.1.2.3-5000-20240501T123456Z.pcapng`, in the current folder; colons are not for every file
/// system.
pub(super) fn file_name(key: &StreamKey, now: SystemTime) -> PathBuf {
    let group = key.group.to_string().replace(':', "_");
    let seconds = rfc3339(now);
    let time = seconds.split('.').next().unwrap_or_default().replace(['-', ':'], "");
    format!("mcast-{group}-{}-{time}Z.pcapng", key.port).into()
}

fn create(path: &Path) -> anyhow::Result<CaptureWriter> {
    let file = File::options().write(true).create_new(true).open(path);
    let file = file.with_context(|| format!("cannot create {}", path.display()))?;
    Ok(CaptureWriter::from_file(file, path, WriteFormat::PcapNg)?)
}
