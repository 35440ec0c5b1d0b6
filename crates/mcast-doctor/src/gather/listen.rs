//! Listens at all depths at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use mcast::{InterfaceIndex, Receiver};
use mcast_capture::{Capture, CaptureOptions, Filter};

use crate::observation::Heard;
use crate::snapshot::{Link, Snapshot};
use crate::wire::{Recorder, Tap, Wire};
use crate::{Options, Progress, Result, Watch};

/// How long nothing may come until one looks again.
const PAUSE: Duration = Duration::from_millis(10);
/// How often the caller is told how far it is.
const TELL: Duration = Duration::from_millis(100);
/// How long the last datagram may take from the wire to the socket.
const GRACE: Duration = Duration::from_millis(100);
/// The largest UDP datagram.
const LONGEST: usize = 65_535;

/// Taps on interfaces, and what they have seen.
pub(crate) struct Taps {
    open: Vec<(Tap, Capture)>,
    refused: Vec<Tap>,
    pub(crate) recorder: Recorder,
}

/// The group that is examined.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) group: Option<IpAddr>,
    pub(crate) port: Option<u16>,
}

/// What was heard with a receiver.
#[derive(Default)]
pub(crate) struct Ear {
    heard: BTreeMap<(u32, SocketAddr), u64>,
    buffer: Vec<u8>,
}

impl Taps {
    /// Opens a tap on each of these interfaces. Where that is refused, it is noted.
    pub(crate) fn open(links: &[&Link]) -> Self {
        let mut taps = Self { open: Vec::new(), refused: Vec::new(), recorder: Recorder::default() };
        for link in links {
            taps.add(link);
        }
        taps
    }

    /// Those on which groups may come in: all of the host's own that are up, and `named`, whichever
    /// they are.
    pub(crate) fn of(machine: &Snapshot, named: &[u32]) -> Self {
        let wanted = |link: &&Link| link.is_of_the_host() || named.contains(&link.index);
        Self::open(&machine.links.iter().filter(wanted).collect::<Vec<_>>())
    }

    fn add(&mut self, link: &Link) {
        let mut tap = Tap { interface: link.index, name: link.name.clone(), refused: None, dropped: 0 };
        let Some(index) = InterfaceIndex::new(link.index) else { return };
        let options = CaptureOptions::on(index).filter(Filter::Multicast).all_multicast(true);
        match Capture::open(options) {
            Ok(capture) => self.open.push((tap, capture)),
            Err(error) => {
                tap.refused = Some(error.to_string());
                self.refused.push(tap);
            }
        }
    }

    /// Takes what there is; says whether there was anything.
    fn drain(&mut self) -> bool {
        let mut any = false;
        for (tap, capture) in &mut self.open {
            // A frame at a time would never end on a fast interface.
            for _ in 0..4096 {
                match capture.next(Some(Duration::ZERO)) {
                    Ok(Some(frame)) => self.recorder.record(&frame),
                    Ok(None) => break,
                    // An interface that went down is seen in the snapshots.
                    Err(error) => {
                        tap.refused.get_or_insert_with(|| error.to_string());
                        break;
                    }
                }
                any = true;
            }
        }
        any
    }

    fn finish(self, until: SystemTime) -> Wire {
        let open = self.open.into_iter().map(|(mut tap, mut capture)| {
            tap.dropped = capture.statistics().map_or(0, |statistics| statistics.dropped);
            // That it went down once does not make it deaf: it was listened on.
            tap.refused = None;
            tap
        });
        let taps = open.chain(self.refused).collect();
        self.recorder.finish(taps, Some(until))
    }
}

impl Ear {
    /// Takes what has arrived; says whether there was anything. What came after `until` does not count:
    /// the taps have not seen it.
    fn drain(&mut self, receiver: &Receiver, until: Option<SystemTime>) -> Result<bool> {
        self.buffer.resize(LONGEST, 0);
        let mut any = false;
        for _ in 0..4096 {
            let Some(datagram) = receiver.try_recv(&mut self.buffer)? else { break };
            let arrival = datagram.arrival();
            any = true;
            if until.is_none_or(|until| arrival.time.is_none_or(|time| time <= until)) {
                let place = (arrival.interface.number(), as_on_wire(arrival.source));
                *self.heard.entry(place).or_default() += 1;
            }
        }
        Ok(any)
    }

    fn count(&self) -> u64 {
        self.heard.values().sum()
    }

    pub(crate) fn heard(self) -> Vec<Heard> {
        let heard = |((interface, source), datagrams)| Heard { interface, source, datagrams };
        self.heard.into_iter().map(heard).collect()
    }
}

/// A socket names a link-local source with its interface, a packet does not.
fn as_on_wire(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip(), source.port())
}

/// Listens for as long as the options say, or until the watcher ends it.
pub(crate) fn listen(
    mut taps: Taps,
    receiver: Option<&Receiver>,
    subject: Subject,
    options: &Options,
    watch: Watch<'_>,
) -> Result<(Wire, Ear)> {
    let (begin, of) = (Instant::now(), options.duration());
    let mut ear = Ear::default();
    let mut told = begin;
    while begin.elapsed() < of {
        let any = taps.drain() | receiver.map_or(Ok(false), |receiver| ear.drain(receiver, None))?;
        if told.elapsed() >= TELL {
            told = Instant::now();
            let on_wire = subject.group.map_or(0, |group| taps.recorder.count(group, subject.port));
            let progress = Progress { elapsed: begin.elapsed(), of, on_wire, at_socket: ear.count() };
            if watch(progress).is_break() {
                break;
            }
        }
        if !any {
            std::thread::sleep(PAUSE);
        }
    }
    let until = SystemTime::now();
    taps.drain();
    let wire = taps.finish(until);
    if let Some(receiver) = receiver {
        let last = Instant::now();
        while last.elapsed() < GRACE {
            if !ear.drain(receiver, Some(until))? {
                std::thread::sleep(PAUSE);
            }
        }
    }
    Ok((wire, ear))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_source_is_the_same_on_the_wire_and_at_the_socket() {
        let at_socket: SocketAddr = "[fe80::1%2]:6000".parse().unwrap();
        let on_wire: SocketAddr = "[fe80::1]:6000".parse().unwrap();
        assert_ne!(at_socket, on_wire);
        assert_eq!(as_on_wire(at_socket), on_wire);
    }
}
