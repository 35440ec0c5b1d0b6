//! Reads the file ahead on a separate thread, so that sending never waits for the disk.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::SystemTime;

use anyhow::Context;
use mcast::{Destination, Group, GroupAddr, Membership};
use mcast_capture::{CaptureFile, FileError, FileErrorKind, Frame};
use mcast_packet::{ChecksumStatus, Packet};

use super::mapping::{Mapping, mapped};
use super::skipped::{Reason, Skipped, reason_not_to};
use super::{Arguments, refused};

/// Bytes of payload that are handed over together, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 64;
/// A piece is handed over early when its last datagram came so long after the first: with a slow
/// recording the first need not wait for the others.
const LONGEST_PIECE: std::time::Duration = std::time::Duration::from_secs(1);

/// What of a file is sent, and where to.
#[derive(Debug)]
pub(super) struct Selection {
    path: std::path::PathBuf,
    is_standard_input: bool,
    only: Vec<Membership>,
    mappings: Vec<Mapping>,
    rounds: u64,
}

/// A datagram to be sent; its payload is in the piece.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// When it was recorded.
    pub(super) time: SystemTime,
    /// Its place in the piece's list of destinations.
    pub(super) to: usize,
    pub(super) hop_limit: u8,
    pub(super) dscp: u8,
    start: usize,
    end: usize,
}

/// Datagrams in their order.
#[derive(Debug, Default)]
pub(super) struct DatagramBatch {
    pub(super) items: Vec<Item>,
    /// Destinations that this piece is the first to name; they go on to be counted from the first piece.
    pub(super) new_destinations: Vec<Destination>,
    bytes: Vec<u8>,
}

/// What the reading thread says.
#[derive(Debug)]
pub(super) enum Event {
    Batch(DatagramBatch),
    /// The file was sent once; another time may follow.
    Round(Ended),
    Failed(anyhow::Error),
}

/// How the file ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) skipped: Skipped,
    /// Datagrams whose checksum was not what it should be.
    pub(super) bad_checksums: u64,
    /// What kept the rest of the file from being read.
    pub(super) trouble: Option<FileError>,
}

impl DatagramBatch {
    pub(super) fn payload(&self, item: &Item) -> &[u8] {
        self.bytes.get(item.start..item.end).unwrap_or_default()
    }
}

impl Ended {
    /// Whether the file is not what it says it is, rather than cut off.
    pub(super) fn is_damaged(&self) -> bool {
        let kind = self.trouble.as_ref().map(FileError::kind);
        kind.is_some_and(|kind| !matches!(kind, FileErrorKind::Truncated { .. }))
    }
}

impl Selection {
    pub(super) fn new(arguments: &Arguments, only: Vec<Membership>) -> anyhow::Result<Self> {
        let is_standard_input = arguments.is_standard_input();
        if is_standard_input && arguments.tempo.r#loop != 1 {
            return Err(refused("standard input can be read only once", "replay a file, or remove --loop"));
        }
        Ok(Self {
            path: arguments.file.clone(),
            is_standard_input,
            only,
            mappings: arguments.map.clone(),
            rounds: match arguments.tempo.r#loop {
                0 => u64::MAX,
                rounds => rounds,
            },
        })
    }

    /// Begins to read; the file has been opened for the first time.
    pub(super) fn read(self, file: CaptureFile) -> anyhow::Result<Receiver<Event>> {
        let (tells, told) = sync_channel(WAITING);
        let read = move || {
            // Nobody listens any more when the sending has ended.
            let _ = self.read_rounds(file, &tells);
        };
        thread::Builder::new().name("reading".into()).spawn(read).context("cannot start a thread")?;
        Ok(told)
    }

    /// Opens the file.
    pub(super) fn open(&self) -> Result<CaptureFile, FileError> {
        match self.is_standard_input {
            true => CaptureFile::from_reader(io::stdin(), "standard input"),
            false => CaptureFile::open(&self.path),
        }
    }

    fn read_rounds(&self, first: CaptureFile, tells: &SyncSender<Event>) -> Result<(), Gone> {
        let mut destinations = HashMap::new();
        let mut file = first;
        for round in 0..self.rounds {
            if round > 0 {
                file = match self.open() {
                    Ok(file) => file,
                    Err(error) => return tell(tells, Event::Failed(error.into())),
                };
            }
            let ended = self.read_file(&mut file, &mut destinations, tells)?;
            // A file with nothing to send would be read for ever.
            let is_over = ended.is_damaged() || destinations.is_empty();
            tell(tells, Event::Round(ended))?;
            if is_over {
                break;
            }
        }
        Ok(())
    }

    fn read_file(
        &self,
        file: &mut CaptureFile,
        destinations: &mut HashMap<GroupAddr, usize>,
        tells: &SyncSender<Event>,
    ) -> Result<Ended, Gone> {
        let mut ended = Ended { skipped: Skipped::default(), bad_checksums: 0, trouble: None };
        let mut piece = DatagramBatch::default();
        loop {
            match file.next() {
                Ok(Some(frame)) => match self.take(&frame, destinations, &mut piece) {
                    Ok(is_bad) => ended.bad_checksums += u64::from(is_bad),
                    Err(reason) => ended.skipped.add(reason),
                },
                Ok(None) => break,
                Err(error) => {
                    ended.trouble = Some(error);
                    break;
                }
            }
            if piece.is_enough() {
                tell(tells, Event::Batch(std::mem::take(&mut piece)))?;
            }
        }
        ended.skipped.unknown_link = file.statistics().skipped;
        tell(tells, Event::Batch(piece))?;
        Ok(ended)
    }

    /// Puts the frame's datagram into the piece; says whether its checksum is bad.
    fn take(
        &self,
        frame: &Frame<'_>,
        destinations: &mut HashMap<GroupAddr, usize>,
        piece: &mut DatagramBatch,
    ) -> Result<bool, Reason> {
        let packet = frame.packet();
        let is_cut_off = frame.original_length > frame.bytes.len();
        if let Some(reason) = reason_not_to(&packet, is_cut_off) {
            return Err(reason);
        }
        let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return Err(Reason::Malformed) };
        let group = Group::new(ip.destination).map_err(|_| Reason::NotMulticast)?;
        let address = GroupAddr::new(group, udp.destination_port);
        if !self.is_asked_for(&packet, address) {
            return Err(Reason::NotAskedFor);
        }
        let next = destinations.len();
        let to = *destinations.entry(address).or_insert_with(|| {
            piece.new_destinations.push(mapped(&self.mappings, address));
            next
        });
        let start = piece.bytes.len();
        piece.bytes.extend_from_slice(udp.payload);
        piece.items.push(Item {
            time: frame.time,
            to,
            hop_limit: ip.hop_limit,
            dscp: ip.dscp,
            start,
            end: piece.bytes.len(),
        });
        Ok(matches!(udp.checksum, ChecksumStatus::Invalid { .. }))
    }

    fn is_asked_for(&self, packet: &Packet<'_>, address: GroupAddr) -> bool {
        let source = packet.ip_layer().map(|ip| ip.source);
        self.only.is_empty()
            || self.only.iter().any(|wanted| {
                wanted.address == address && source.is_some_and(|source| wanted.sources.admits(source))
            })
    }
}

impl DatagramBatch {
    fn is_enough(&self) -> bool {
        let time = |item: Option<&Item>| item.map(|item| item.time);
        let span = time(self.items.last()).zip(time(self.items.first()));
        self.bytes.len() >= PIECE
            || self.items.len() >= PIECE / 64
            || span.is_some_and(|(last, first)| {
                last.duration_since(first).is_ok_and(|span| span >= LONGEST_PIECE)
            })
    }
}

/// Nobody listens any more.
#[derive(Debug)]
struct Gone;

fn tell(tells: &SyncSender<Event>, event: Event) -> Result<(), Gone> {
    tells.send(event).map_err(|_| Gone)
}
