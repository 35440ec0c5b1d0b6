//! Records a stream to a file.

use std::path::PathBuf;

use mcast_capture::{CaptureWriter, FileError, Frame, WriteFormat};
use mcast_packet::{Packet, Transport};

use crate::StreamKey;

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
    pub(super) fn start(key: StreamKey, path: PathBuf) -> Result<Self, FileError> {
        let writer = CaptureWriter::create_new(&path, WriteFormat::PcapNg)?;
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
