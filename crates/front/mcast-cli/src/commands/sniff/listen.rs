//! Counts, prints and writes packets.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use mcast::{Drops, InterfaceIndex};
use mcast_capture::{
    CaptureWriter, ErrorKind, FileErrorKind, Frame, PacketFilter, Part, SourceError, UnwrappedPacket,
    Unwrapper, WriteFormat,
};
use mcast_packet::{Packet, Transport, protocol};
use mcast_terminal::{Console, Output};
use mcast_watch::live::{PacketSummaryRecord, StreamFilter};
use mcast_watch::{FragmentPorts, PacketTally, Time};

use super::text::{Ending, PacketLines, print_summary};
use super::{Content, JoinMonitor, SniffPlan, Source};
use crate::arguments::{Goal, interface_name};
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{count_of, write_record};
use crate::session::{Control, End, SessionSteps, Step};
use crate::sys::standard_output;

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
    handler: PacketHandler<'a>,
    /// Why the file ended before its last record was complete.
    cut_off: Option<SourceError>,
}

/// Filters, counts, prints and writes packets.
struct PacketHandler<'a> {
    unwrapper: Unwrapper,
    packets: PacketPrinter<'a>,
    writer: Option<CaptureWriter>,
}

/// Filters, counts and prints packets.
struct PacketPrinter<'a> {
    plan: &'a SniffPlan<'a>,
    filter: PacketFilter,
    /// The names of the interfaces on which packets were seen.
    names: HashMap<InterfaceIndex, String>,
    fragments: FragmentPorts,
    streams: StreamFilter,
    tally: PacketTally,
    printer: PacketLines,
    out: Output,
}

impl<'a> Sniffer<'a> {
    pub(super) fn new(
        plan: &'a SniffPlan<'a>,
        filter: PacketFilter,
        source: Source,
        join_monitor: Option<JoinMonitor>,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        let mut writer = plan.write.map(create).transpose()?;
        if let (Some(writer), Source::Live(capture)) = (&mut writer, &source) {
            // Also of interfaces without selected packets, so that the file contains their losses.
            writer.describe_all(capture.interfaces())?;
        }
        let packets = PacketPrinter {
            plan,
            filter,
            names: HashMap::new(),
            fragments: FragmentPorts::new(),
            streams: StreamFilter::default(),
            tally: PacketTally::default(),
            printer: PacketLines::new(plan, console),
            out: console.output(),
        };
        let handler = PacketHandler { unwrapper: Unwrapper::new(), packets, writer };
        Ok(Self { source, join_monitor, console, start, until: None, handler, cut_off: None })
    }

    pub(super) fn print_start(&self) {
        self.source.print_start(self.console);
    }

    pub(super) fn run(mut self, interrupt: Interrupt) -> anyhow::Result<Outcome> {
        let goal = Goal::new(self.handler.packets.plan.limits, self.start);
        let mut control = Control::new(interrupt, goal, self.console);
        let end = control.run(&mut self);
        let elapsed = self.start.elapsed();
        let end = end.and_then(|end| {
            if matches!(end, End::TimeOver | End::Interrupted) {
                self.handle_waiting(&mut control)?;
            }
            Ok(end)
        });
        self.handler.finish();
        let packets = &self.handler.packets;
        let time = if packets.plan.is_file { packets.tally.span() } else { elapsed };
        // Even after a failure, so that earlier packets are printed and written.
        let flushed = self.handler.flush();
        // Before the statistics of interfaces, which are records, too.
        let unwritten = self.handler.writer.as_ref().map_or(0, CaptureWriter::unwritten);
        let lost = self.source.frames().lost()?;
        let counted = self.handler.write_statistics(&mut self.source);
        self.summarize(time, lost, unwritten)?;
        let end = end?;
        flushed?;
        counted?;
        if let Some(error) = self.cut_off.take() {
            return Err(error.into());
        }
        Ok(control.judge(end, true, self.handler.packets(), lost.map_or(Drops::Unknown, Drops::AtLeast)))
    }

    /// Handles packets that arrived before the end and are still in a block of the kernel's ring buffer.
    fn handle_waiting(&mut self, control: &mut Control<'_>) -> anyhow::Result<()> {
        let Some(longest) = self.source.longest_wait() else { return Ok(()) };
        self.until = Some(SystemTime::now());
        let start = Instant::now();
        loop {
            // A process that was not scheduled for that long checks again.
            let left = longest.saturating_sub(start.elapsed());
            match self.step(control, left)? {
                Step::Over(_) => return Ok(()),
                Step::Idle if left.is_zero() => return Ok(()),
                _ => {}
            }
        }
    }

    fn summarize(&mut self, time: Duration, lost: Option<u64>, unwritten: u64) -> anyhow::Result<()> {
        let Self { source, handler, console, .. } = self;
        let PacketHandler { packets, writer, unwrapper } = handler;
        let PacketPrinter { plan, names, tally, out, .. } = packets;
        let unexamined = unwrapper.unexamined();
        let name = |interface| names.get(&interface).cloned().unwrap_or_default();
        let ending = Ending { time, lost };
        if plan.has_json_summary {
            write_record(out, "summary", &PacketSummaryRecord::new(tally, unexamined, time, lost, name))?;
            out.flush()?;
        }
        print_summary(tally, ending, name, console);
        if !unexamined.is_empty() {
            console.note(crate::output::unexamined(unexamined));
        }
        source.print_note(console);
        if let Some(writer) = writer {
            let frames = count_of(writer.frames() - unwritten, "packet");
            console.note(format_args!("{frames} written to {}", writer.path().display()));
            if unwritten > 0 {
                console.error(format_args!("{} could not be written", count_of(unwritten, "packet")));
            }
        }
        match &mut self.join_monitor {
            Some(join_monitor) => join_monitor.warn(true, console),
            None if tally.flows().total().count == 0 && !plan.is_file => console.note(
                "nothing was joined: a snooping switch holds back groups that no program here has joined; --join joins them",
            ),
            None => {}
        }
        Ok(())
    }
}

impl SessionSteps for Sniffer<'_> {
    /// Handles the next packet.
    fn step(&mut self, control: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        let Self { source, handler, join_monitor, .. } = self;
        let frames = source.frames();
        let frame = match frames.next_frame(Some(wait)) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                let is_over = source.frames().is_at_end();
                return Ok(if is_over { Step::Over(End::SourceEnded) } else { Step::Idle });
            }
            Err(error) if is_cut_off(&error) => {
                self.cut_off = Some(error);
                return Ok(Step::Over(End::SourceEnded));
            }
            Err(error) => return report_recoverable(error, self.console).map(|()| Step::Handled),
        };
        if self.until.is_some_and(|until| frame.time > until) {
            return Ok(Step::Over(End::TimeOver));
        }
        handler.handle(&frame, join_monitor.as_mut())?;
        control.goal.record_arrival();
        let is_enough = control.goal.is_reached(self.handler.packets());
        Ok(if is_enough { Step::Over(End::Enough) } else { Step::Handled })
    }

    /// Warns first if the traffic of a membership is overdue.
    fn longest_wait(&mut self) -> Duration {
        let mut time_to_warning = self.join_monitor.as_ref().and_then(JoinMonitor::time_to_warning);
        if let Some(join_monitor) = &mut self.join_monitor
            && time_to_warning.take_if(|time| time.is_zero()).is_some()
        {
            join_monitor.warn(false, self.console);
        }
        time_to_warning.map_or(MAX_WAIT, |time| time.min(MAX_WAIT))
    }

    fn is_unflushed(&self) -> bool {
        true
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.handler.flush()
    }
}

impl PacketHandler<'_> {
    /// Returns the number of packets handled.
    fn packets(&self) -> u64 {
        self.packets.tally.flows().total().count
    }

    fn handle(&mut self, frame: &Frame<'_>, join_monitor: Option<&mut JoinMonitor>) -> anyhow::Result<()> {
        let Self { unwrapper, packets, writer } = self;
        if !packets.filter.watches(&frame.context(None)) {
            return Ok(());
        }
        let mut join_monitor = join_monitor;
        let (mut is_selected, mut printed) = (false, Ok(()));
        unwrapper.visit(frame, &mut |packet| {
            let is_outermost = packet.enclosing.is_none();
            if let Some(join_monitor) = join_monitor.take().filter(|_| !is_control(packet.packet)) {
                join_monitor.traffic.observe(frame, packet.packet);
            }
            match packets.handle(frame, packet) {
                Ok(true) => is_selected = true,
                // What is in a frame decides about it, too.
                Ok(false) if is_outermost && packet.packet.carried().is_none() => {
                    packets.tally.add_other(packet.packet);
                }
                Ok(false) => {}
                Err(error) => printed = Err(error),
            }
        });
        printed?;
        match writer.as_mut().filter(|_| is_selected) {
            Some(writer) => Ok(writer.write(frame)?),
            None => Ok(()),
        }
    }

    /// Counts the datagrams whose fragments have not come.
    fn finish(&mut self) {
        let Self { unwrapper, packets, .. } = self;
        unwrapper.finish(&mut |packet| packets.count_fragmented(packet, false));
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.packets.out.flush()?;
        match &mut self.writer {
            Some(writer) => Ok(writer.flush()?),
            None => Ok(()),
        }
    }

    /// Writes the losses of each interface to the file.
    fn write_statistics(&mut self, source: &mut Source) -> anyhow::Result<()> {
        let (Some(writer), Source::Live(capture)) = (&mut self.writer, source) else { return Ok(()) };
        for (interface, statistics) in capture.interface_statistics()? {
            writer.write_statistics(interface, &statistics)?;
        }
        Ok(writer.flush()?)
    }
}

impl PacketPrinter<'_> {
    /// Prints and counts a packet of a frame if it is selected, and returns whether it is.
    fn handle(&mut self, frame: &Frame<'_>, unwrapped: &UnwrappedPacket<'_>) -> anyhow::Result<bool> {
        let packet = unwrapped.packet;
        match unwrapped.part {
            // Its fragments have been printed.
            Part::Reassembled { .. } => {
                self.count_fragmented(unwrapped, true);
                return Ok(false);
            }
            Part::Incomplete { .. } => {
                self.count_fragmented(unwrapped, false);
                return Ok(false);
            }
            Part::Whole | Part::Fragment => {}
        }
        // For every frame, selected or not: only the first fragment of a datagram has the port, and later ones are selected by it.
        let port = self.fragments.port_of(unwrapped.interface, packet);
        let context = unwrapped.context(port);
        let is_selected = match self.plan.content {
            Content::All => self.filter.admits(packet, &context),
            Content::Control => is_control(packet) && self.filter.admits_control(packet, &context),
            Content::Messages => self.streams.admit(packet, &self.filter, &context),
        };
        if !is_selected {
            return Ok(false);
        }
        let (time, length) = (Time::from(unwrapped.time), unwrapped.length);
        self.tally.add(time, unwrapped.interface, length, packet, port);
        let name = self.names.entry(unwrapped.interface).or_insert_with(|| interface_name(frame));
        self.printer.print(&mut self.out, frame, packet, unwrapped.enclosing, name)?;
        Ok(true)
    }

    /// Counts a datagram in fragments, if it is to a selected group.
    fn count_fragmented(&mut self, unwrapped: &UnwrappedPacket<'_>, is_complete: bool) {
        let port = unwrapped.packet.udp().map(|udp| udp.destination_port);
        if self.filter.admits(unwrapped.packet, &unwrapped.context(port)) {
            self.tally.add_fragmented(is_complete);
        }
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

/// Returns whether a file ends within a record, of which the frames before are as valid as those of a whole file.
fn is_cut_off(error: &SourceError) -> bool {
    matches!(error, SourceError::File(error) if matches!(error.kind(), FileErrorKind::Truncated { .. }))
}

/// Reports an error after which the source continues; returns any other.
fn report_recoverable(error: SourceError, console: &Console) -> anyhow::Result<()> {
    let is_recoverable = match &error {
        SourceError::Capture(error) => error.kind() == ErrorKind::InterfaceDown,
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
