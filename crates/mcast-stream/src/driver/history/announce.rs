//! Announcements of history servers: sending them, and finding a server by them.

use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mcast::{Destination, Family, InterfaceIndex, InterfaceSelector};

use super::NO_INCARNATION;
use crate::driver::clock;
use crate::driver::discovery;
use crate::driver::error::StreamError;
use crate::history::HistoryAnnouncement;
use crate::seal::Keys;
use crate::wire::{DatagramView, DatagramWriter, Header, IncarnationSalt, KeyEpoch, Kind, StreamId};

/// The time between two announcements.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest announcement, without its seal.
const LONGEST: usize = 128;

/// Announces a server until it is dropped.
#[derive(Debug)]
pub(super) struct Announcer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Announcer {
    pub(super) fn start(
        stream: StreamId,
        address: SocketAddr,
        keys: Arc<Mutex<Keys>>,
        on: &[InterfaceIndex],
    ) -> Result<Self, StreamError> {
        let group = discovery::group(Family::of(address.ip()));
        let destinations = on.iter().filter_map(|index| {
            let interface = Some(InterfaceSelector::Index(*index));
            Some(Destination { address: group?, interface })
        });
        let builder = mcast::Sender::builder().follow(true);
        let sender = destinations.fold(builder, mcast::SenderBuilder::to).build()?;
        let (stop, stopped) = channel();
        let salt = IncarnationSalt(clock::seed() | 1);
        let work = move || {
            for count in 1.. {
                let keys = keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(datagram) = announcement(stream, address, &keys, salt, count) {
                    // An interface may be down at present.
                    let _ = sender.send(&datagram);
                }
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("mcast-announce".to_owned()).spawn(work);
        Ok(Self { stop: Some(stop), thread: Some(thread.map_err(StreamError::Thread)?) })
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns an announcement, sealed if there are keys; `None` if it cannot be sealed.
fn announcement(
    stream: StreamId,
    address: SocketAddr,
    keys: &Keys,
    salt: IncarnationSalt,
    count: u64,
) -> Option<Vec<u8>> {
    let epoch = keys.latest();
    let header = Header { epoch, ..Header::new(Kind::History, stream, NO_INCARNATION, count) };
    let mut bytes = vec![0; LONGEST];
    let mut writer = DatagramWriter::new(&mut bytes, &header).ok()?;
    if epoch != KeyEpoch::CLEAR {
        writer.salt(salt).ok()?;
    }
    HistoryAnnouncement { address }.write(&mut writer).ok()?;
    let length = writer.finish();
    bytes.truncate(length);
    (epoch == KeyEpoch::CLEAR || keys.seal(&header, salt, &mut bytes)).then_some(bytes)
}

/// Receives the announcements of history servers.
pub(super) struct HistoryAnnouncements {
    receiver: mcast::Receiver,
    stream: StreamId,
    keys: Keys,
    buffer: Vec<u8>,
}

impl HistoryAnnouncements {
    pub(super) fn join(
        stream: StreamId,
        interface: Option<&InterfaceSelector>,
        keys: Keys,
    ) -> Result<Self, StreamError> {
        let receiver = discovery::join(None, interface)?;
        Ok(Self { receiver, stream, keys, buffer: vec![0; 65_536] })
    }

    /// Returns the address in the next datagram, if it announces a server of the stream and arrives within this time.
    pub(super) fn next_timeout(&mut self, time: Duration) -> Result<Option<SocketAddr>, StreamError> {
        let Some(datagram) = self.receiver.recv_timeout(&mut self.buffer, time)? else { return Ok(None) };
        let (source, mut bytes) = (datagram.arrival().source, datagram.payload().to_vec());
        Ok(read(&mut bytes, self.stream, &self.keys, source))
    }
}

fn read(bytes: &mut [u8], stream: StreamId, keys: &Keys, source: SocketAddr) -> Option<SocketAddr> {
    let view = DatagramView::parse(bytes).ok()?;
    let (header, head) = (view.header, view.head.len());
    let is_sealed = header.epoch != KeyEpoch::CLEAR;
    if header.kind != Kind::History || header.stream != stream || is_sealed == keys.is_empty() {
        return None;
    }
    let end = if is_sealed { keys.open(bytes)? } else { bytes.len() };
    let announced = HistoryAnnouncement::read(bytes.get(head..end)?).ok()?.address;
    let mut address = if announced.ip().is_unspecified() { source } else { announced };
    address.set_port(announced.port());
    (address.port() != 0).then_some(address)
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::seal::{Algorithm, GroupSecret};

    #[test]
    fn announcements_are_sealed_with_the_stream() {
        let keys = |byte| Keys::one(KeyEpoch(1), GroupSecret::new(&[byte; 32], Algorithm::Aes128Gcm));
        let (own, source) = ("0.0.0.0:7768".parse().unwrap(), "10.0.0.1:999".parse().unwrap());
        let of = |keys: &Keys| announcement(StreamId(1), own, keys, IncarnationSalt(5), 1).unwrap();
        let read = |mut bytes: Vec<u8>, keys: &Keys| read(&mut bytes, StreamId(1), keys, source);
        let (clear, found) = (Keys::none(), "10.0.0.1:7768".parse().ok());
        assert_eq!(read(of(&clear), &clear), found);
        assert_eq!(read(of(&keys(1)), &keys(1)), found);
        // Subscribers of a sealed stream ignore forged announcements, and no one else learns the address.
        assert_eq!(read(of(&clear), &keys(1)), None);
        assert_eq!(read(of(&keys(2)), &keys(1)), None);
        assert_eq!(read(of(&keys(1)), &clear), None);
        assert!(!of(&keys(1)).windows(2).any(|bytes| bytes == 7768_u16.to_be_bytes()));
    }
}
