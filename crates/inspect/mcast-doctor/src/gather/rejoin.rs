//! Reports a membership again, as the only way to distinguish a network that has forgotten it from a sender that is
//! silent.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use mcast::{GroupAddr, Membership, Receiver, SourceFilter};
use mcast_capture::ControlSender;
use mcast_packet::gmp::{Address, GmpMessage, Record, RecordKind};

use super::listen::{POLL_INTERVAL, Taps};
use crate::Result;
use crate::observation::RejoinOutcome;
use crate::snapshot::Link;

/// The time allowed for a stream to come back.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The same for a stream of which nothing has arrived so far: a sender may start at any time.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// A membership that can be reported again.
pub(crate) struct Rejoin<'a> {
    pub(crate) address: GroupAddr,
    pub(crate) method: RejoinMethod<'a>,
}

/// How to report it.
pub(crate) enum RejoinMethod<'a> {
    /// Leave and join: this process is the only member on this machine.
    Join(&'a Receiver, &'a Membership),
    /// Send a report: as another program is a member, the system would send none. Contains the interfaces with the IGMP
    /// version in use.
    Report(Vec<(&'a Link, Option<u8>)>, &'a SourceFilter),
}

impl Rejoin<'_> {
    /// Reports the membership if its stream has stopped or if nothing of it has arrived, and waits for the stream. Returns
    /// the outcome, which is `None` if no report could be sent, and what was done, for the report.
    pub(super) fn perform(
        &self,
        taps: &mut Taps,
        until: SystemTime,
        is_conclusive: bool,
    ) -> Result<Option<(Option<RejoinOutcome>, String)>> {
        let (group, port) = (self.address.group.addr(), self.address.port);
        let count = |taps: &Taps| taps.recorder.count(group, Some(port));
        let was_silent = matches!(self.method, RejoinMethod::Report(..)) && count(taps) == 0;
        let has_stopped = is_conclusive && taps.recorder.has_stopped(group, port, until);
        if !(was_silent || has_stopped) {
            return Ok(None);
        }
        if !self.report()? {
            return Ok(Some((None, format!("not possible: {}", self.description()))));
        }
        let timeout = if was_silent { FIRST_TIMEOUT } else { TIMEOUT };
        let before = std::mem::take(&mut taps.recorder);
        let begin = Instant::now();
        while begin.elapsed() < timeout && count(taps) == 0 {
            if !taps.drain() {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        let (outcome, result) = match count(taps) {
            0 => (RejoinOutcome::StayedSilent, "nothing arrived"),
            _ => (RejoinOutcome::CameBack, "datagrams arrived"),
        };
        taps.recorder = before;
        Ok(Some((Some(outcome), format!("{}: {result}", self.description()))))
    }

    /// Returns what it does, in words.
    fn description(&self) -> String {
        let to = self.address;
        match &self.method {
            RejoinMethod::Join(..) => format!("leave {to} and join it again"),
            RejoinMethod::Report(links, _) => {
                let names: Vec<_> = links.iter().map(|(link, _)| link.name()).collect();
                format!("send another report for {to} on {}", names.join(", "))
            }
        }
    }

    /// Returns whether a report was sent.
    fn report(&self) -> Result<bool> {
        match &self.method {
            RejoinMethod::Join(receiver, membership) => {
                receiver.leave(membership)?;
                receiver.join((*membership).clone())?;
                Ok(true)
            }
            // Without the right to send it, the question stays open.
            RejoinMethod::Report(links, sources) => Ok(links
                .iter()
                .filter(|(link, version)| send_report(link, *version, self.address, sources).is_some())
                .count()
                > 0),
        }
    }
}

/// Sends a report for a group on an interface; `None` if that is not possible.
fn send_report(
    link: &Link,
    igmp_version: Option<u8>,
    address: GroupAddr,
    sources: &SourceFilter,
) -> Option<()> {
    let own =
        |is_right: fn(&IpAddr) -> bool| link.interface.addresses.iter().map(|own| own.address).find(is_right);
    match address.group.addr() {
        IpAddr::V4(group) => {
            let Some(IpAddr::V4(own)) = own(IpAddr::is_ipv4) else { return None };
            let sources = of_family(sources, |source| match source {
                IpAddr::V4(source) => Some(source),
                IpAddr::V6(_) => None,
            });
            let is_old = igmp_version.is_some_and(|version| version < 3);
            send(link, own, &record(group, &sources), is_old)
        }
        IpAddr::V6(group) => {
            let is_link_local = |own: &IpAddr| matches!(own, IpAddr::V6(own) if own.is_unicast_link_local());
            let Some(IpAddr::V6(own)) = own(is_link_local) else { return None };
            let sources = of_family(sources, |source| match source {
                IpAddr::V6(source) => Some(source),
                IpAddr::V4(_) => None,
            });
            send(link, own, &record(group, &sources), false)
        }
    }
}

/// Returns the sources that the membership includes.
fn of_family<A>(sources: &SourceFilter, select: fn(IpAddr) -> Option<A>) -> Vec<A> {
    match sources {
        SourceFilter::Include(sources) => sources.iter().copied().filter_map(select).collect(),
        _ => Vec::new(),
    }
}

fn record<'a, A: Address>(group: A, sources: &'a [A]) -> Record<'a, A>
where
    &'a [A]: Into<mcast_packet::gmp::Sources<'a, A>>,
{
    let kind = if sources.is_empty() { RecordKind::ModeIsExclude } else { RecordKind::ModeIsInclude };
    Record { kind, group, sources: sources.into() }
}

fn send<A: Address>(link: &Link, own: A, record: &Record<'_, A>, is_old: bool) -> Option<()> {
    let sender = ControlSender::open(link.index(), own).ok()?;
    let records = [*record];
    let message = match is_old {
        true => GmpMessage::Report { group: record.group },
        false => GmpMessage::V3Report((&records).into()),
    };
    sender.send(&message).ok()
}
