//! Records a stream to a file.

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
    /// The error that ended the recording, if any.
    pub(super) failure: Option<String>,
}

impl Recording {
    /// Creates a new file; fails if the file exists.
    pub(super) fn start(key: StreamKey, path: PathBuf) -> anyhow::Result<Self> {
        let writer = create(&path)?;
        Ok(Self { key, path, writer, failure: None })
    }

    /// Writes a frame if it belongs to the stream, or is a later fragment that may belong to it.
    pub(super) fn write(&mut self, frame: &Frame<'_>, packet: &Packet<'_>, key: Option<StreamKey>) {
        let belongs_to_stream =
            key == Some(self.key) || (key.is_none() && self.may_be_fragment(frame, packet));
        if !belongs_to_stream || self.failure.is_some() {
            return;
        }
        if let Err(error) = self.writer.write(frame) {
            self.failure = Some(error.to_string());
        }
    }

    /// Writes buffered data.
    pub(super) fn flush(&mut self) {
        if let Err(error) = self.writer.flush()
            && self.failure.is_none()
        {
            self.failure = Some(error.to_string());
        }
    }

    /// Returns the number of frames written.
    pub(super) fn frames(&self) -> u64 {
        self.writer.frames()
    }

    fn may_be_fragment(&self, frame: &Frame<'_>, packet: &Packet<'_>) -> bool {
        let is_piece = matches!(packet.transport, Some(Transport::Fragment(_)));
        let ends = packet.ip_layer().map(|ip| (ip.source, ip.destination));
        is_piece
            && frame.interface == self.key.interface
            && ends == Some((self.key.source, self.key.group.addr()))
    }
}

/// Returns a name such as `mcast-239.1.2.3-5000-20240501T123456Z.pcapng`, without colons, which not every file system
/// supports.
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
