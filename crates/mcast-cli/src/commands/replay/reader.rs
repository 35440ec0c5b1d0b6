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
use super::{Arguments, usage_error};

/// The bytes of payload in a batch, and the number of batches in the queue.
const BATCH_BYTES: usize = 256 << 10;
const WAITING: usize = 64;
/// The maximum recorded time span of a batch, so that with a slow recording the first datagram does not wait for the
/// others.
const BATCH_SPAN: std::time::Duration = std::time::Duration::from_secs(1);

/// The selection and mapping of a file's datagrams.
#[derive(Debug)]
pub(super) struct Selection {
    path: std::path::PathBuf,
    is_standard_input: bool,
    only: Vec<Membership>,
    mappings: Vec<Mapping>,
    rounds: u64,
}

/// A datagram to send; its payload is in the batch.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The recorded time.
    pub(super) time: SystemTime,
    /// The index of its destination in the list of all destinations.
    pub(super) to: usize,
    pub(super) hop_limit: u8,
    pub(super) dscp: u8,
    start: usize,
    end: usize,
}

/// Datagrams in order.
#[derive(Debug, Default)]
pub(super) struct DatagramBatch {
    pub(super) items: Vec<Item>,
    /// Destinations that occur first in this batch. Indexes count the destinations of all batches.
    pub(super) new_destinations: Vec<Destination>,
    bytes: Vec<u8>,
}

/// An event from the reading thread.
#[derive(Debug)]
pub(super) enum Event {
    Batch(DatagramBatch),
    /// The file was read once; another round may follow.
    Round(Ended),
    Failed(anyhow::Error),
}

/// How the file ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) skipped: Skipped,
    /// Datagrams with a wrong checksum.
    pub(super) bad_checksums: u64,
    /// The error that ended reading early.
    pub(super) trouble: Option<FileError>,
}

impl DatagramBatch {
    pub(super) fn payload(&self, item: &Item) -> &[u8] {
        self.bytes.get(item.start..item.end).unwrap_or_default()
    }
}

impl Ended {
    /// Returns whether the file is invalid, and not just cut off.
    pub(super) fn is_damaged(&self) -> bool {
        let kind = self.trouble.as_ref().map(FileError::kind);
        kind.is_some_and(|kind| !matches!(kind, FileErrorKind::Truncated { .. }))
    }
}

impl Selection {
    pub(super) fn new(arguments: &Arguments, only: Vec<Membership>) -> anyhow::Result<Self> {
        let is_standard_input = arguments.is_standard_input();
        if is_standard_input && arguments.timing.r#loop != 1 {
            return Err(usage_error(
                "standard input can be read only once",
                "replay a file, or remove --loop",
            ));
        }
        Ok(Self {
            path: arguments.file.clone(),
            is_standard_input,
            only,
            mappings: arguments.map.clone(),
            rounds: match arguments.timing.r#loop {
                0 => u64::MAX,
                rounds => rounds,
            },
        })
    }

    /// Starts to read. `file` is used for the first round.
    pub(super) fn read(self, file: CaptureFile) -> anyhow::Result<Receiver<Event>> {
        let (events, event_receiver) = sync_channel(WAITING);
        let read = move || {
            // An error means that sending has ended.
            let _ = self.read_rounds(file, &events);
        };
        thread::Builder::new().name("reading".into()).spawn(read).context("cannot start a thread")?;
        Ok(event_receiver)
    }

    /// Opens the file.
    pub(super) fn open(&self) -> Result<CaptureFile, FileError> {
        match self.is_standard_input {
            true => CaptureFile::from_reader(io::stdin(), "standard input"),
            false => CaptureFile::open(&self.path),
        }
    }

    fn read_rounds(&self, first: CaptureFile, events: &SyncSender<Event>) -> Result<(), ReceiverDropped> {
        let mut destinations = HashMap::new();
        let mut file = first;
        for round in 0..self.rounds {
            if round > 0 {
                file = match self.open() {
                    Ok(file) => file,
                    Err(error) => return send(events, Event::Failed(error.into())),
                };
            }
            let ended = self.read_file(&mut file, &mut destinations, events)?;
            // A file with nothing to send would be read forever.
            let is_over = ended.is_damaged() || destinations.is_empty();
            send(events, Event::Round(ended))?;
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
        events: &SyncSender<Event>,
    ) -> Result<Ended, ReceiverDropped> {
        let mut ended = Ended { skipped: Skipped::default(), bad_checksums: 0, trouble: None };
        let mut batch = DatagramBatch::default();
        loop {
            match file.next() {
                Ok(Some(frame)) => match self.take(&frame, destinations, &mut batch) {
                    Ok(is_bad) => ended.bad_checksums += u64::from(is_bad),
                    Err(reason) => ended.skipped.add(reason),
                },
                Ok(None) => break,
                Err(error) => {
                    ended.trouble = Some(error);
                    break;
                }
            }
            if batch.is_full() {
                send(events, Event::Batch(std::mem::take(&mut batch)))?;
            }
        }
        ended.skipped.unknown_link = file.statistics().skipped;
        send(events, Event::Batch(batch))?;
        Ok(ended)
    }

    /// Adds the frame's datagram to the batch; returns whether its checksum is wrong.
    fn take(
        &self,
        frame: &Frame<'_>,
        destinations: &mut HashMap<GroupAddr, usize>,
        batch: &mut DatagramBatch,
    ) -> Result<bool, Reason> {
        let packet = frame.packet();
        let is_cut_off = frame.original_length > frame.bytes.len();
        if let Some(reason) = reason_not_to(&packet, is_cut_off) {
            return Err(reason);
        }
        let (Some(ip), Some(udp)) = (packet.ip_layer(), packet.udp()) else { return Err(Reason::Malformed) };
        let group = Group::new(ip.destination).map_err(|_| Reason::NotMulticast)?;
        let address = GroupAddr::new(group, udp.destination_port);
        if !self.is_selected(&packet, address) {
            return Err(Reason::NotAskedFor);
        }
        let next = destinations.len();
        let to = *destinations.entry(address).or_insert_with(|| {
            batch.new_destinations.push(mapped(&self.mappings, address));
            next
        });
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(udp.payload);
        batch.items.push(Item {
            time: frame.time,
            to,
            hop_limit: ip.hop_limit,
            dscp: ip.dscp,
            start,
            end: batch.bytes.len(),
        });
        Ok(matches!(udp.checksum, ChecksumStatus::Invalid { .. }))
    }

    fn is_selected(&self, packet: &Packet<'_>, address: GroupAddr) -> bool {
        let source = packet.ip_layer().map(|ip| ip.source);
        self.only.is_empty()
            || self.only.iter().any(|wanted| {
                wanted.address == address && source.is_some_and(|source| wanted.sources.admits(source))
            })
    }
}

impl DatagramBatch {
    fn is_full(&self) -> bool {
        let time = |item: Option<&Item>| item.map(|item| item.time);
        let span = time(self.items.last()).zip(time(self.items.first()));
        self.bytes.len() >= BATCH_BYTES
            || self.items.len() >= BATCH_BYTES / 64
            || span
                .is_some_and(|(last, first)| last.duration_since(first).is_ok_and(|span| span >= BATCH_SPAN))
    }
}

/// The receiver of events was dropped.
#[derive(Debug)]
struct ReceiverDropped;

fn send(events: &SyncSender<Event>, event: Event) -> Result<(), ReceiverDropped> {
    events.send(event).map_err(|_| ReceiverDropped)
}
