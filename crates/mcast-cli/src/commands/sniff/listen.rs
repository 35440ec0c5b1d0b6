//! The loop: takes packets, counts, prints and writes them, and flushes whenever it would wait.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use mcast::{Drops, InterfaceIndex};
use mcast_capture::{CaptureWriter, ErrorKind, FileErrorKind, Frame, SourceError, WriteFormat};
use mcast_packet::{Packet, Transport, protocol};

use super::Arguments;
use super::beside::Beside;
use super::fragments::Fragments;
use super::held::Held;
use super::output::Printer;
use super::source::{Source, is_among};
use super::streams::Streams;
use super::tally::{Ending, Tally};
use crate::arguments::{Goal, PacketContext, PacketFilter, read_keys};
use crate::console::{Console, Output};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::write_record;
use crate::sys::standard_output;

/// So many packets are taken between two looks at the clock.
const AT_ONCE: usize = 256;

/// The longest wait for a packet before Ctrl-C is looked for.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Everything that a run of `mcast sniff` holds.
pub(super) struct Sniffer<'a> {
    source: Source,
    held: Option<Held>,
    console: &'a Console,
    start: Instant,
    /// Packets that came later are not taken.
    until: Option<SystemTime>,
    goal: Goal<'a>,
    desk: Desk<'a>,
}

/// What becomes of a packet.
struct Desk<'a> {
    arguments: &'a Arguments,
    wanted: PacketFilter,
    known: HashMap<InterfaceIndex, Known>,
    fragments: Fragments,
    streams: Streams,
    tally: Tally,
    beside: Beside,
    printer: Printer,
    writer: Option<CaptureWriter>,
    out: Output,
}

/// An interface of which a frame was seen.
#[derive(Debug)]
struct Known {
    name: String,
    /// Whether `-i` means it; where the capture was opened on those, it always does.
    is_meant: bool,
    is_loopback: bool,
}

/// Why the loop ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Enough,
    TimeOver,
    Interrupted,
    NoMore,
}

/// What a turn of the loop found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// As many packets as are taken at once.
    Busy,
    /// Nothing more is there now.
    Idle,
    Over(End),
}

impl<'a> Sniffer<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        source: Source,
        wanted: PacketFilter,
        held: Option<Held>,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        let key = arguments.key.as_deref();
        let keys = key.map(|path| read_keys(path, console)).transpose()?.unwrap_or_default();
        let desk = Desk {
            arguments,
            wanted,
            known: HashMap::new(),
            fragments: Fragments::default(),
            streams: Streams::default(),
            tally: Tally::default(),
            beside: Beside::default(),
            printer: Printer::new(&arguments.show, keys, console),
            writer: arguments.show.write.as_deref().map(create).transpose()?,
            out: console.output(),
        };
        let goal = Goal::new(&arguments.limits, start);
        Ok(Self { source, held, console, start, until: None, goal, desk })
    }

    pub(super) fn tell_start(&self) {
        self.source.tell_start(self.console);
    }

    pub(super) fn run(mut self, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
        let end = self.listen(interrupt);
        let elapsed = self.start.elapsed();
        let end = end.and_then(|end| {
            if matches!(end, End::TimeOver | End::Interrupted) {
                self.take_waiting()?;
            }
            Ok(end)
        });
        let time = match self.desk.arguments.read {
            Some(_) => self.desk.tally.span(),
            None => elapsed,
        };
        // Also when it failed: what came before is printed and written.
        let flushed = self.desk.flush();
        let lost = self.source.lost()?;
        let counted = self.desk.count_losses(&mut self.source);
        self.summarize(time, lost)?;
        let end = end?;
        flushed?;
        counted?;
        if end == End::Interrupted {
            return Ok(interrupt.outcome().unwrap_or(Outcome::Yes));
        }
        Ok(self.judge(lost))
    }

    fn listen(&mut self, interrupt: &Interrupt) -> anyhow::Result<End> {
        loop {
            if interrupt.has_arrived() {
                return Ok(End::Interrupted);
            }
            if self.goal.is_past_deadline() {
                return Ok(End::TimeOver);
            }
            let left = self.goal.time_left();
            match self.take()? {
                Turn::Over(end) => return Ok(end),
                Turn::Busy => {}
                Turn::Idle if left == Some(Duration::ZERO) => return Ok(End::TimeOver),
                Turn::Idle => {
                    self.desk.flush()?;
                    if let Some(end) = self.wait()? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Takes what had come before the end and still waits in a block of the kernel's.
    fn take_waiting(&mut self) -> anyhow::Result<()> {
        let Some(longest) = self.source.longest_wait() else { return Ok(()) };
        self.until = Some(SystemTime::now());
        let start = Instant::now();
        loop {
            // Whoever got no processor for so long looks once more.
            let left = longest.saturating_sub(start.elapsed());
            match self.step(left)? {
                Some(Turn::Over(_)) => return Ok(()),
                Some(_) if left.is_zero() => return Ok(()),
                _ => {}
            }
        }
    }

    /// Takes what is there, without waiting.
    fn take(&mut self) -> anyhow::Result<Turn> {
        for _ in 0..AT_ONCE {
            if let Some(turn) = self.step(Duration::ZERO)? {
                return Ok(turn);
            }
        }
        self.goal.record_arrival();
        Ok(Turn::Busy)
    }

    /// Waits for the next packet, and takes it.
    fn wait(&mut self) -> anyhow::Result<Option<End>> {
        let patience = self.held.as_ref().and_then(Held::patience);
        if patience == Some(Duration::ZERO) {
            self.held.iter_mut().for_each(|held| held.tell(false, self.console));
        }
        let limits = [self.goal.time_left(), patience.filter(|patience| !patience.is_zero())];
        let time = limits.into_iter().flatten().fold(LONGEST_WAIT, Duration::min);
        match self.step(time)? {
            Some(Turn::Over(end)) => return Ok(Some(end)),
            Some(_) => {}
            None => self.goal.record_arrival(),
        }
        Ok(None)
    }

    /// Handles the next packet; `None` if there was one and it goes on.
    fn step(&mut self, timeout: Duration) -> anyhow::Result<Option<Turn>> {
        let frame = match self.source.next(Some(timeout)) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                let is_over = self.source.is_at_end();
                return Ok(Some(if is_over { Turn::Over(End::NoMore) } else { Turn::Idle }));
            }
            Err(error) => return survive(error, self.console).map(|()| None),
        };
        if self.until.is_some_and(|until| frame.time > until) {
            return Ok(Some(Turn::Over(End::TimeOver)));
        }
        if self.desk.knows(&frame) {
            self.desk.handle(&frame, self.held.as_mut())?;
        } else {
            // Once an interface: the source can be asked for the name only when the frame is let go.
            let bytes = frame.bytes.to_vec();
            let frame = Frame { bytes: &bytes, ..frame };
            self.desk.learn(&frame, &self.source)?;
            self.desk.handle(&frame, self.held.as_mut())?;
        }
        Ok(self.goal.is_reached(self.desk.tally.packets()).then_some(Turn::Over(End::Enough)))
    }

    fn summarize(&mut self, time: Duration, lost: Option<u64>) -> anyhow::Result<()> {
        let Self { source, desk, console, .. } = self;
        let name = |interface| source.name(interface);
        let ending = Ending { time, lost, beside: &desk.beside, name: &name };
        let show = &desk.arguments.show;
        if show.discard && show.json {
            write_record(&mut desk.out, "summary", &desk.tally.summary(&ending))?;
            desk.out.flush()?;
        }
        desk.tally.tell(&ending, console);
        source.tell(console);
        if let Some(writer) = &desk.writer {
            let frames = crate::output::count_of(writer.frames(), "packet");
            console.note(format_args!("{frames} written to {}", writer.path().display()));
        }
        match &mut self.held {
            Some(held) => held.tell(true, console),
            None if desk.tally.packets() == 0 && desk.arguments.read.is_none() => console.note(
                "nothing was joined: a snooping switch holds back groups that nobody here has joined; --join \
                 joins them",
            ),
            None => {}
        }
        Ok(())
    }

    fn judge(&self, lost: Option<u64>) -> Outcome {
        let dropped = lost.map_or(Drops::Unknown, Drops::AtLeast);
        let misses = self.goal.misses(self.desk.tally.packets(), dropped);
        misses.iter().for_each(|miss| self.console.note(miss));
        Outcome::of(misses.is_empty())
    }
}

impl Desk<'_> {
    fn knows(&self, frame: &Frame<'_>) -> bool {
        self.known.contains_key(&frame.interface)
    }

    fn learn(&mut self, frame: &Frame<'_>, source: &Source) -> anyhow::Result<()> {
        let name = source.name(frame.interface);
        if let Some(writer) = &mut self.writer {
            writer.describe(frame.interface, &name, frame.link_type)?;
        }
        let is_meant = match &self.arguments.read {
            Some(_) => is_among(&self.arguments.interfaces, frame.interface, &name),
            None => true,
        };
        let is_loopback = source.is_loopback(frame.interface);
        self.known.insert(frame.interface, Known { name, is_meant, is_loopback });
        Ok(())
    }

    fn handle(&mut self, frame: &Frame<'_>, held: Option<&mut Held>) -> anyhow::Result<()> {
        let Some(Known { name, is_meant: true, is_loopback }) = self.known.get(&frame.interface) else {
            return Ok(());
        };
        // A loopback interface shows each packet going out and coming in.
        if *is_loopback && frame.direction.is_outgoing() {
            return Ok(());
        }
        let packet = frame.packet();
        if let Some(held) = held.filter(|_| !is_control(&packet)) {
            held.see(frame, &packet);
        }
        let port = self.fragments.port_of(&packet, frame.interface);
        let sight = PacketContext { interface: frame.interface, interface_name: name, port };
        let is_wanted = if self.arguments.control {
            is_control(&packet) && self.wanted.admits_control(&packet, &sight)
        } else if self.arguments.streams {
            self.streams.admit(&packet, &self.wanted, &sight)
        } else {
            self.wanted.admits(&packet, &sight)
        };
        if !is_wanted {
            self.beside.add(&packet);
            return Ok(());
        }
        self.tally.add(frame, &packet, port);
        self.printer.print(&mut self.out, frame, &packet, name)?;
        match &mut self.writer {
            Some(writer) => Ok(writer.write(frame)?),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush()?;
        match &mut self.writer {
            Some(writer) => Ok(writer.flush()?),
            None => Ok(()),
        }
    }

    /// Has the file say what was lost on each interface.
    fn count_losses(&mut self, source: &mut Source) -> anyhow::Result<()> {
        let (Some(writer), Some(capture)) = (&mut self.writer, source.capture()) else { return Ok(()) };
        for interface in self.known.keys() {
            if let Some(statistics) = capture.interface_statistics(*interface)? {
                writer.write_statistics(*interface, &statistics)?;
            }
        }
        Ok(writer.flush()?)
    }
}

/// Whether it is what groups are managed with, as far as its header says.
fn is_control(packet: &Packet<'_>) -> bool {
    let is_protocol = packet.ip_layer().is_some_and(|ip| {
        (ip.protocol == protocol::IGMP && ip.source.is_ipv4()) || ip.protocol == protocol::PIM
    });
    is_protocol || matches!(packet.transport, Some(Transport::Mld(_)))
}

/// Creates the file to be written: pcap if its name says so.
fn create(path: &Path) -> anyhow::Result<CaptureWriter> {
    let is_pcap = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("pcap"));
    let format = if is_pcap { WriteFormat::Pcap } else { WriteFormat::PcapNg };
    if path.as_os_str() == "-" {
        return Ok(CaptureWriter::from_file(standard_output()?, "standard output", format)?);
    }
    Ok(CaptureWriter::create(path, format)?)
}

/// Says what a source told that does not end it; fails with what does.
fn survive(error: SourceError, console: &Console) -> anyhow::Result<()> {
    let goes_on = match &error {
        SourceError::Capture(error) => error.kind() == ErrorKind::InterfaceDown,
        SourceError::File(error) => matches!(error.kind(), FileErrorKind::Truncated { .. }),
        _ => false,
    };
    if !goes_on {
        return Err(error.into());
    }
    console.warn(&error);
    if let Some(remedy) = error.remedy() {
        console.advise(remedy);
    }
    Ok(())
}
