//! Determines from a series of examinations when something went wrong. It uses neither files nor the clock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use jiff::Timestamp;

use super::{HistoryEntry, HistoryPath, HistoryQuerier, HistoryStream};

/// The maximum number of streams and of queriers that are remembered; those heard last stay.
const MAX_HEARD: usize = 256;
/// The maximum number of changes that are remembered.
const MAX_CHANGES: usize = 100;
/// The maximum number of paths that a text names.
const MAX_SHOWN: usize = 12;

/// The verdicts of a series of examinations, and when streams and queriers were last heard.
#[derive(Clone, Debug, Default)]
pub struct HistoryTimeline {
    verdict: String,
    /// The last examination before the current series of bad verdicts.
    healthy_until: Option<Timestamp>,
    /// The first examination of the current series of bad verdicts.
    bad_since: Option<Timestamp>,
    /// The streams that the latest examination heard.
    present: Vec<HistoryStream>,
    streams: BTreeMap<HistoryStream, Timestamp>,
    queriers: BTreeMap<(String, String), Timestamp>,
    /// The paths of a fleet on which not everything arrives, each with the first examination that found it.
    paths: Vec<(HistoryPath, Timestamp)>,
    changes: VecDeque<HistoryEntry>,
}

/// Since when something is wrong, and what arrived until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onset {
    /// The first examination with a bad verdict.
    pub since: Timestamp,
    /// The last examination before.
    pub healthy_until: Option<Timestamp>,
    /// The streams that have stopped, with the time of the last examination that heard them.
    pub stopped: Vec<(HistoryStream, Timestamp)>,
    /// The queriers, with the time at which they were last heard.
    pub queriers: Vec<HistoryQuerier>,
    /// The paths of a fleet on which not everything arrives, with the time of the first examination that found it.
    pub paths: Vec<(HistoryPath, Timestamp)>,
}

impl HistoryTimeline {
    pub(super) fn add(&mut self, entry: &HistoryEntry) {
        let Some(time) = entry.timestamp() else { return };
        if entry.is_healthy() {
            self.healthy_until = Some(time);
            self.bad_since = None;
        } else {
            self.bad_since.get_or_insert(time);
        }
        for stream in &entry.streams {
            self.streams.insert(stream.clone(), time);
        }
        for querier in &entry.queriers {
            if let Ok(last) = querier.last_heard.parse::<Timestamp>() {
                let key = (querier.interface.clone(), querier.address.clone());
                let known = self.queriers.entry(key).or_insert(last);
                *known = last.max(*known);
            }
        }
        forget_oldest(&mut self.streams);
        forget_oldest(&mut self.queriers);
        self.present.clone_from(&entry.streams);
        self.paths = entry.paths.iter().map(|path| (path.clone(), self.since(path, time))).collect();
        let is_change = self.changes.back().is_none_or(|last| !last.has_same_outcome(entry));
        self.verdict.clone_from(&entry.verdict);
        if is_change {
            if self.changes.len() == MAX_CHANGES {
                self.changes.pop_front();
            }
            self.changes.push_back(entry.clone());
        }
    }

    /// Returns since when not everything arrives on a path that the examination at `time` found.
    fn since(&self, path: &HistoryPath, time: Timestamp) -> Timestamp {
        let is_same = |known: &HistoryPath| {
            (&known.from, &known.to, &known.group) == (&path.from, &path.to, &path.group)
        };
        self.paths.iter().find(|(known, _)| is_same(known)).map_or(time, |(_, since)| *since)
    }

    /// Returns the examinations whose verdict or findings differ from those before, oldest first.
    pub fn changes(&self) -> impl Iterator<Item = &HistoryEntry> {
        self.changes.iter()
    }

    /// Returns since when something is wrong; `None` if nothing is.
    #[must_use]
    pub fn onset(&self) -> Option<Onset> {
        let since = self.bad_since?;
        let until = self.healthy_until;
        // What had stopped long before, while all was well, was not missed.
        let is_recent = |last: &Timestamp| until.is_none_or(|until| *last >= until);
        let stopped =
            self.streams.iter().filter(|(stream, last)| !self.present.contains(stream) && is_recent(last));
        let queriers = self.queriers.iter().map(|((interface, address), last)| HistoryQuerier {
            interface: interface.clone(),
            address: address.clone(),
            last_heard: last.to_string(),
        });
        Some(Onset {
            since,
            healthy_until: until,
            stopped: stopped.map(|(stream, last)| (stream.clone(), *last)).collect(),
            queriers: queriers.collect(),
            paths: self.paths.clone(),
        })
    }
}

fn forget_oldest<K: Ord + Clone>(heard: &mut BTreeMap<K, Timestamp>) {
    while heard.len() > MAX_HEARD {
        let Some(oldest) = heard.iter().min_by_key(|(_, last)| **last).map(|(key, _)| key.clone()) else {
            return;
        };
        heard.remove(&oldest);
    }
}

/// `since 2026-11-21 02:14:05Z (healthy until 02:13:05Z): 239.255.2.3:5000 from 10.0.0.7:6000 on eth0 last heard …`.
impl fmt::Display for Onset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "since {}", date_and_time(self.since))?;
        if let Some(until) = self.healthy_until {
            write!(f, ", healthy until {}", beside(until, self.since))?;
        }
        let stopped = self.stopped.iter().map(|(stream, last)| {
            format!(
                "{} from {} on {} last heard {}",
                stream.group,
                stream.source,
                stream.interface,
                beside(*last, self.since)
            )
        });
        let queriers = self.queriers.iter().filter_map(|querier| {
            let last = querier.last_heard.parse().ok()?;
            Some(format!(
                "querier {} on {} last heard {}",
                querier.address,
                querier.interface,
                beside(last, self.since)
            ))
        });
        let paths = self.paths.iter().take(MAX_SHOWN).map(|(path, since)| {
            let HistoryPath { from, to, group, outcome } = path;
            format!("{from} to {to} {outcome} ({group}) since {}", beside(*since, self.since))
        });
        let more = self.paths.len().saturating_sub(MAX_SHOWN);
        let more = (more > 0).then(|| format!("and {more} more paths"));
        let mut separator = ": ";
        for part in stopped.chain(queriers).chain(paths).chain(more) {
            write!(f, "{separator}{part}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Returns a time as `2026-11-21 02:14:05Z`.
pub(super) fn date_and_time(time: Timestamp) -> String {
    format!("{time:.0}").replace('T', " ")
}

/// A time without its date, if that is the date of the other time.
fn beside(time: Timestamp, other: Timestamp) -> String {
    let (text, other) = (date_and_time(time), date_and_time(other));
    match (text.split_once(' '), other.split_once(' ')) {
        (Some((date, clock)), Some((same, _))) if date == same => clock.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> HistoryStream {
        HistoryStream {
            interface: "eth0".into(),
            source: "10.0.0.7:6000".into(),
            group: "239.1.2.3:5000".into(),
        }
    }

    fn entry(time: &str, verdict: &str, streams: &[HistoryStream], querier: Option<&str>) -> HistoryEntry {
        let queriers = querier.map(|last| HistoryQuerier {
            interface: "eth0".into(),
            address: "10.0.0.1".into(),
            last_heard: format!("2026-11-21T{last}Z"),
        });
        HistoryEntry {
            time: format!("2026-11-21T{time}Z"),
            verdict: verdict.into(),
            streams: streams.to_vec(),
            queriers: queriers.into_iter().collect(),
            ..HistoryEntry::default()
        }
    }

    fn timeline(entries: &[HistoryEntry]) -> HistoryTimeline {
        let mut timeline = HistoryTimeline::default();
        entries.iter().for_each(|entry| timeline.add(entry));
        timeline
    }

    #[test]
    fn the_onset_names_what_stopped_and_when_the_querier_was_last_heard() {
        let timeline = timeline(&[
            entry("02:08:00", "healthy", &[stream()], Some("02:07:01")),
            entry("02:13:00", "healthy", &[stream()], Some("02:09:06")),
            entry("02:14:00", "faults", &[], Some("02:09:06")),
            entry("02:15:00", "faults", &[], None),
        ]);
        let expected = "since 2026-11-21 02:14:00Z, healthy until 02:13:00Z: 239.1.2.3:5000 from 10.0.0.7:6000 on \
                        eth0 last heard 02:13:00Z, querier 10.0.0.1 on eth0 last heard 02:09:06Z";
        assert_eq!(timeline.onset().unwrap().to_string(), expected);
        assert_eq!(timeline.changes().count(), 2);
    }

    #[test]
    fn paths_of_a_fleet_have_a_beginning_each() {
        let path = |to: &str, outcome: &str| HistoryPath {
            from: "a".into(),
            to: to.into(),
            group: "239.1.2.3:5000".into(),
            outcome: outcome.into(),
        };
        let at = |time, verdict, paths: &[HistoryPath]| HistoryEntry {
            paths: paths.to_vec(),
            ..entry(time, verdict, &[], None)
        };
        let mut timeline = timeline(&[
            at("02:13:00", "healthy", &[]),
            at("02:14:00", "faults", &[path("b", "lossy")]),
            at("02:15:00", "faults", &[path("b", "silent"), path("c", "silent")]),
        ]);
        let expected = "since 2026-11-21 02:14:00Z, healthy until 02:13:00Z: a to b silent (239.1.2.3:5000) since \
                        02:14:00Z, a to c silent (239.1.2.3:5000) since 02:15:00Z";
        assert_eq!(timeline.onset().unwrap().to_string(), expected);
        timeline.add(&at("02:16:00", "faults", &[path("c", "silent")]));
        timeline.add(&at("02:17:00", "faults", &[path("b", "silent"), path("c", "silent")]));
        let since = timeline.onset().unwrap().paths.into_iter().map(|(_, since)| since.to_string());
        assert_eq!(since.collect::<Vec<_>>(), ["2026-11-21T02:17:00Z", "2026-11-21T02:15:00Z"]);
    }

    #[test]
    fn a_healthy_verdict_ends_it() {
        let mut timeline = timeline(&[entry("01:00:00", "faults", &[], None)]);
        assert_eq!(timeline.onset().unwrap().to_string(), "since 2026-11-21 01:00:00Z");
        timeline.add(&entry("01:01:00", "healthy", &[stream()], None));
        assert_eq!(timeline.onset(), None);
    }

    #[test]
    fn a_stream_that_stopped_while_all_was_well_is_not_named() {
        let timeline = timeline(&[
            entry("01:00:00", "healthy", &[stream()], None),
            entry("02:00:00", "healthy", &[], None),
            entry("03:00:00", "warnings", &[], None),
        ]);
        assert_eq!(timeline.onset().unwrap().stopped, []);
    }

    #[test]
    fn memory_is_bounded() {
        let mut timeline = HistoryTimeline::default();
        for number in 0..5_000 {
            let own = HistoryStream { source: number.to_string(), ..stream() };
            let time = format!("{:02}:{:02}:{:02}", number / 3_600, number / 60 % 60, number % 60);
            timeline.add(&entry(&time, if number % 2 == 0 { "healthy" } else { "faults" }, &[own], None));
        }
        assert_eq!((timeline.streams.len(), timeline.changes.len()), (MAX_HEARD, MAX_CHANGES));
        assert!(timeline.streams.keys().any(|stream| stream.source == "4999"));
    }
}
