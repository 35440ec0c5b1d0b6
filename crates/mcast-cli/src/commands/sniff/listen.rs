//! The main loop: counts, prints and writes packets, and flushes before it waits.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use mcast::{Drops, InterfaceIndex};
use mcast_capture::{
    CaptureWriter, ErrorKind, FileErrorKind, Frame, PacketContext, PacketFilter, SourceError, WriteFormat,
};
use mcast_packet::{Packet, Transport, protocol};
use mcast_watch::{FragmentPorts, PacketTally, Time};

use super::Arguments;
use super::join_monitor::JoinMonitor;
use super::json::Summary;
use super::source::{Source, is_among};
use super::streams::Streams;
use super::text::{Ending, Printer, print_summary};
use crate::arguments::{Goal, read_keys};
use crate::console::{Console, Output};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::write_record;
use crate::sys::standard_output;

/// The number of packets handled between two checks of the clock.
const AT_ONCE: usize = 256;

/// The longest wait for a packet before checking for Ctrl-C.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// The state of `mcast sniff`.
pub(super) struct Sniffer<'a> {
    source: Source,
    join_monitor: Option<JoinMonitor>,
    console: &'a Console,
    start: Instant,
    /// Later packets are ignored.
    until: Option<SystemTime>,
    goal: Goal<'a>,
    handler: PacketHandler<'a>,
}

/// Filters, counts, prints and writes packets.
struct PacketHandler<'a> {
    arguments: &'a Arguments,
    filter: PacketFilter,
    seen_interfaces: HashMap<InterfaceIndex, SeenInterface>,
    fragments: FragmentPorts,
    streams: Streams,
    tally: PacketTally,
    printer: Printer,
    writer: Option<CaptureWriter>,
    out: Output,
}

/// An interface on which a frame was seen.
#[derive(Debug)]
struct SeenInterface {
    name: String,
    /// Whether `-i` selects it. Always true for a live capture, which is opened on the selected interfaces.
    is_selected: bool,
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

/// The result of one turn of the loop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The maximum number of packets was handled.
    Busy,
    /// No more packets are available.
    Idle,
    Over(End),
}

impl<'a> Sniffer<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        source: Source,
        filter: PacketFilter,
        join_monitor: Option<JoinMonitor>,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        let key = arguments.input.key.as_deref();
        let keys = key.map(|path| read_keys(path, console)).transpose()?.unwrap_or_default();
        let handler = PacketHandler {
            arguments,
            filter,
            seen_interfaces: HashMap::new(),
            fragments: FragmentPorts::new(),
            streams: Streams::default(),
            tally: PacketTally::default(),
            printer: Printer::new(&arguments.show, keys, console),
            writer: arguments.show.write.as_deref().map(create).transpose()?,
            out: console.output(),
        };
        let goal = Goal::new(&arguments.limits, start);
        Ok(Self { source, join_monitor, console, start, until: None, goal, handler })
    }

    pub(super) fn print_start(&self) {
        self.source.print_start(self.console);
    }

    pub(super) fn run(mut self, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
        let end = self.listen(interrupt);
        let elapsed = self.start.elapsed();
        let end = end.and_then(|end| {
            if matches!(end, End::TimeOver | End::Interrupted) {
                self.handle_waiting()?;
            }
            Ok(end)
        });
        let time = match self.handler.arguments.input.read {
            Some(_) => self.handler.tally.span(),
            None => elapsed,
        };
        // Even after a failure, so that earlier packets are printed and written.
        let flushed = self.handler.flush();
        let lost = self.source.lost()?;
        let counted = self.handler.write_statistics(&mut self.source);
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
            match self.handle_available()? {
                Turn::Over(end) => return Ok(end),
                Turn::Busy => {}
                Turn::Idle if left == Some(Duration::ZERO) => return Ok(End::TimeOver),
                Turn::Idle => {
                    self.handler.flush()?;
                    if let Some(end) = self.wait()? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Handles packets that arrived before the end and are still in a block of the kernel's ring buffer.
    fn handle_waiting(&mut self) -> anyhow::Result<()> {
        let Some(longest) = self.source.longest_wait() else { return Ok(()) };
        self.until = Some(SystemTime::now());
        let start = Instant::now();
        loop {
            // A process that was not scheduled for that long checks again.
            let left = longest.saturating_sub(start.elapsed());
            match self.step(left)? {
                Some(Turn::Over(_)) => return Ok(()),
                Some(_) if left.is_zero() => return Ok(()),
                _ => {}
            }
        }
    }

    /// Handles available packets without waiting.
    fn handle_available(&mut self) -> anyhow::Result<Turn> {
        for _ in 0..AT_ONCE {
            if let Some(turn) = self.step(Duration::ZERO)? {
                return Ok(turn);
            }
        }
        self.goal.record_arrival();
        Ok(Turn::Busy)
    }

    /// Waits for the next packet, and handles it.
    fn wait(&mut self) -> anyhow::Result<Option<End>> {
        let time_to_warning = self.join_monitor.as_ref().and_then(JoinMonitor::time_to_warning);
        if time_to_warning == Some(Duration::ZERO) {
            self.join_monitor.iter_mut().for_each(|join_monitor| join_monitor.warn(false, self.console));
        }
        let limits =
            [self.goal.time_left(), time_to_warning.filter(|time_to_warning| !time_to_warning.is_zero())];
        let time = limits.into_iter().flatten().fold(MAX_WAIT, Duration::min);
        match self.step(time)? {
            Some(Turn::Over(end)) => return Ok(Some(end)),
            Some(_) => {}
            None => self.goal.record_arrival(),
        }
        Ok(None)
    }

    /// Handles the next packet; returns `None` if there was one and the loop continues.
    fn step(&mut self, timeout: Duration) -> anyhow::Result<Option<Turn>> {
        let frame = match self.source.next(Some(timeout)) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                let is_over = self.source.is_at_end();
                return Ok(Some(if is_over { Turn::Over(End::NoMore) } else { Turn::Idle }));
            }
            Err(error) => return report_recoverable(error, self.console).map(|()| None),
        };
        if self.until.is_some_and(|until| frame.time > until) {
            return Ok(Some(Turn::Over(End::TimeOver)));
        }
        if self.handler.knows(&frame) {
            self.handler.handle(&frame, self.join_monitor.as_mut())?;
        } else {
            // Copied once per interface: the source can return the name only after the frame is released.
            let bytes = frame.bytes.to_vec();
            let frame = Frame { bytes: &bytes, ..frame };
            self.handler.learn(&frame, &self.source)?;
            self.handler.handle(&frame, self.join_monitor.as_mut())?;
        }
        Ok(self.goal.is_reached(self.handler.packets()).then_some(Turn::Over(End::Enough)))
    }

    fn summarize(&mut self, time: Duration, lost: Option<u64>) -> anyhow::Result<()> {
        let Self { source, handler, console, .. } = self;
        let name = |interface| source.name(interface);
        let ending = Ending { time, lost };
        let show = &handler.arguments.show;
        if show.discard && show.json {
            write_record(&mut handler.out, "summary", &Summary::new(&handler.tally, ending, name))?;
            handler.out.flush()?;
        }
        print_summary(&handler.tally, ending, name, console);
        source.print_note(console);
        if let Some(writer) = &handler.writer {
            let frames = crate::output::count_of(writer.frames(), "packet");
            console.note(format_args!("{frames} written to {}", writer.path().display()));
        }
        match &mut self.join_monitor {
            Some(join_monitor) => join_monitor.warn(true, console),
            None if handler.packets() == 0 && handler.arguments.input.read.is_none() => console.note(
                "nothing was joined: a snooping switch holds back groups that nobody here has joined; --join \
                 joins them",
            ),
            None => {}
        }
        Ok(())
    }

    fn judge(&self, lost: Option<u64>) -> Outcome {
        let dropped = lost.map_or(Drops::Unknown, Drops::AtLeast);
        let misses = self.goal.misses(self.handler.packets(), dropped);
        misses.iter().for_each(|miss| self.console.note(miss));
        Outcome::of(misses.is_empty())
    }
}

impl PacketHandler<'_> {
    /// Returns the number of packets handled.
    fn packets(&self) -> u64 {
        self.tally.flows().total().count
    }

    fn knows(&self, frame: &Frame<'_>) -> bool {
        self.seen_interfaces.contains_key(&frame.interface)
    }

    fn learn(&mut self, frame: &Frame<'_>, source: &Source) -> anyhow::Result<()> {
        let name = source.name(frame.interface);
        if let Some(writer) = &mut self.writer {
            writer.describe(frame.interface, &name, frame.link_type)?;
        }
        let is_selected = match &self.arguments.input.read {
            Some(_) => {
                let interface = frame.interface;
                let context = PacketContext { interface, interface_name: &name, port: None };
                is_among(&self.arguments.interfaces, &context)
            }
            None => true,
        };
        let is_loopback = source.is_loopback(frame.interface);
        self.seen_interfaces.insert(frame.interface, SeenInterface { name, is_selected, is_loopback });
        Ok(())
    }

    fn handle(&mut self, frame: &Frame<'_>, join_monitor: Option<&mut JoinMonitor>) -> anyhow::Result<()> {
        let Some(SeenInterface { name, is_selected: true, is_loopback }) =
            self.seen_interfaces.get(&frame.interface)
        else {
            return Ok(());
        };
        // A loopback interface shows each packet going out and coming in.
        if *is_loopback && frame.direction.is_outgoing() {
            return Ok(());
        }
        let packet = frame.packet();
        if let Some(join_monitor) = join_monitor.filter(|_| !is_control(&packet)) {
            join_monitor.observe(frame, &packet);
        }
        let port = self.fragments.port_of(frame.interface, &packet);
        let context = PacketContext { interface: frame.interface, interface_name: name, port };
        let is_wanted = if self.arguments.control {
            is_control(&packet) && self.filter.admits_control(&packet, &context)
        } else if self.arguments.messages {
            self.streams.admit(&packet, &self.filter, &context)
        } else {
            self.filter.admits(&packet, &context)
        };
        if !is_wanted {
            self.tally.add_other(&packet);
            return Ok(());
        }
        let (time, length) = (Time::from(frame.time), frame.original_length);
        self.tally.add(time, frame.interface, length, &packet, port);
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

    /// Writes the losses of each interface to the file.
    fn write_statistics(&mut self, source: &mut Source) -> anyhow::Result<()> {
        let (Some(writer), Some(capture)) = (&mut self.writer, source.capture()) else { return Ok(()) };
        for interface in self.seen_interfaces.keys() {
            if let Some(statistics) = capture.interface_statistics(*interface)? {
                writer.write_statistics(*interface, &statistics)?;
            }
        }
        Ok(writer.flush()?)
    }
}

/// Returns whether the header is that of IGMP, MLD or PIM.
fn is_control(packet: &Packet<'_>) -> bool {
    let is_protocol = packet.ip_layer().is_some_and(|ip| {
        (ip.protocol == protocol::IGMP && ip.source.is_ipv4()) || ip.protocol == protocol::PIM
    });
    is_protocol || matches!(packet.transport, Some(Transport::Mld(_)))
}

/// Creates the output file, in pcap if its name ends in `.pcap`.
fn create(path: &Path) -> anyhow::Result<CaptureWriter> {
    let is_pcap = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("pcap"));
    let format = if is_pcap { WriteFormat::Pcap } else { WriteFormat::PcapNg };
    if path.as_os_str() == "-" {
        return Ok(CaptureWriter::from_file(standard_output()?, "standard output", format)?);
    }
    Ok(CaptureWriter::create(path, format)?)
}

/// Reports an error after which the source continues; returns any other.
fn report_recoverable(error: SourceError, console: &Console) -> anyhow::Result<()> {
    let is_recoverable = match &error {
        SourceError::Capture(error) => error.kind() == ErrorKind::InterfaceDown,
        SourceError::File(error) => matches!(error.kind(), FileErrorKind::Truncated { .. }),
        _ => false,
    };
    if !is_recoverable {
        return Err(error.into());
    }
    console.warn(&error);
    if let Some(remedy) = error.remedy() {
        console.advise(remedy);
    }
    Ok(())
}
