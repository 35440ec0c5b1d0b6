//! The results of repeated examinations in a file of bounded size, and since when something is wrong.

mod timeline;

use std::error;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use mcast::GroupAddr;
use mcast_sys::{ClassifiedError, FailureClass};
use serde::{Deserialize, Serialize};

use crate::{FleetFinding, FleetPair, FleetReport, FleetVerdict, PathOutcome};
use mcast_doctor::{Finding, FlowStatus, QuerierLog, QuerierSighting, Report, Verdict};
use timeline::date_and_time;
pub use timeline::{HistoryTimeline, Onset};

/// When a file is larger, its older half is removed. At one examination per minute it lasts for weeks.
const MAX_SIZE: u64 = 4 << 20;
/// Longer lines are ignored: they are not from this program.
const MAX_LINE: u64 = 64 << 10;
/// How each line starts, even one that a power failure cut off.
const LINE_START: &[u8] = b"{\"event\":\"history\"";

/// Why a history could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The file could not be opened, read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The file contains something else, and was not changed.
    #[error("it is not a history of the doctor: none of its lines is the result of an examination")]
    NotHistory,
}

impl ClassifiedError for HistoryError {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::File(_) => None,
            Self::NotHistory => Some(FailureClass::Environment),
        }
    }

    fn remedy(&self) -> Option<String> {
        let is_other = matches!(self, Self::NotHistory);
        is_other
            .then(|| "name a new file, or one that `mcast doctor --watch --journal FILE` has written".into())
    }

    fn transparent(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::NotHistory => None,
        }
    }
}

/// A history that is being recorded: a file with a JSON object per examination.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: File,
    size: u64,
    timeline: HistoryTimeline,
    /// `None` without the right to capture.
    queriers: Option<QuerierLog>,
}

impl History {
    /// Continues the history in a file, or begins one.
    ///
    /// # Errors
    /// When the file cannot be opened, read or written, and when it contains something else; then it stays as it is.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut timeline = HistoryTimeline::default();
        let is_complete = read(&file, |entry| timeline.add(&entry))?;
        if !is_complete {
            // The next line must not continue a damaged one.
            (&file).write_all(b"\n")?;
        }
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, timeline, queriers: None })
    }

    /// Starts to record queriers, too.
    ///
    /// # Errors
    /// Without the right to capture.
    pub fn watch_queriers(&mut self) -> mcast_doctor::Result<()> {
        self.queriers = Some(QuerierLog::start()?);
        Ok(())
    }

    /// Records an examination.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(&mut self, report: &Report) -> io::Result<()> {
        let queriers = self.queriers.as_ref().map(QuerierLog::heard).unwrap_or_default();
        self.add(&HistoryEntry::new(report, &queriers))
    }

    /// Records an examination of a fleet.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_fleet(&mut self, report: &FleetReport) -> io::Result<()> {
        self.add(&HistoryEntry::of_fleet(report))
    }

    /// Returns since when something is wrong; `None` if nothing is.
    #[must_use]
    pub fn onset(&self) -> Option<Onset> {
        self.timeline.onset()
    }

    fn add(&mut self, entry: &HistoryEntry) -> io::Result<()> {
        self.timeline.add(entry);
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.size += line.len() as u64;
        if self.size > MAX_SIZE { self.shorten() } else { Ok(()) }
    }

    /// Removes the older half of the file. The new file, with the same permissions, replaces the old one once it is on the
    /// disk, so that neither a crash nor a power failure leaves half of it.
    fn shorten(&mut self) -> io::Result<()> {
        let text = fs::read(&self.path)?;
        let half = text.len() / 2;
        let start =
            text[half..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| half + end + 1);
        let (name, mut shorter) = create_beside(&self.path)?;
        let permissions = self.file.metadata()?.permissions();
        let written = shorter
            .set_permissions(permissions)
            .and_then(|()| shorter.write_all(&text[start..]))
            .and_then(|()| shorter.sync_all());
        let replaced = written.and_then(|()| {
            // Windows does not replace a file that is open.
            self.file = shorter;
            let renamed = fs::rename(&name, &self.path);
            self.file = OpenOptions::new().append(true).open(&self.path)?;
            renamed
        });
        if replaced.is_err() {
            let _ = fs::remove_file(&name);
        }
        replaced?;
        self.size = (text.len() - start) as u64;
        Ok(())
    }
}

/// Creates a file beside another, under a name that is free: a file `NAME.new` may be the user's.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = 0_u32;
    loop {
        let mut name = OsString::from(path);
        name.push(".new");
        if number > 0 {
            name.push(number.to_string());
        }
        match File::create_new(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            created => return Ok((name.into(), created?)),
        }
    }
}

impl HistoryTimeline {
    /// Reads the history in a file.
    ///
    /// # Errors
    /// When the file cannot be read, or contains something else.
    pub fn read(path: &Path) -> Result<Self, HistoryError> {
        let mut timeline = Self::default();
        read(&File::open(path)?, |entry| timeline.add(&entry))?;
        Ok(timeline)
    }
}

/// Reads the lines of a history, and returns whether the last one is complete. A damaged line, such as the last one after
/// a power failure, is skipped, unless there are no others.
fn read(file: &File, mut on_entry: impl FnMut(HistoryEntry)) -> Result<bool, HistoryError> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let (mut is_empty, mut is_history, mut is_complete) = (true, false, true);
    loop {
        line.clear();
        let mut limited = io::Read::take(&mut reader, MAX_LINE);
        if limited.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        is_empty = false;
        is_complete = line.ends_with(b"\n");
        is_history |= LINE_START.starts_with(&line) || line.starts_with(LINE_START);
        if let Ok(entry) = serde_json::from_slice(&line) {
            is_history = true;
            on_entry(entry);
        }
    }
    if is_empty || is_history { Ok(is_complete) } else { Err(HistoryError::NotHistory) }
}

/// The number of paths in one line, which is shorter than a history reads.
const MAX_PATHS: usize = 256;

/// The result of one examination, as a [`History`](super::History) keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename = "history")]
pub struct HistoryEntry {
    /// Time of the examination (RFC 3339, UTC)
    pub time: String,
    /// Verdict
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["healthy", "warnings", "unknown", "faults"])))]
    pub verdict: String,
    /// Findings with their subjects
    pub findings: Vec<String>,
    /// Streams of which the examination received datagrams
    pub streams: Vec<HistoryStream>,
    /// Queriers whose queries arrived since the start of the command
    pub queriers: Vec<HistoryQuerier>,
    /// Paths between the machines of a fleet on which not everything arrives, up to 256; with `--fleet` only
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HistoryPath>,
}

/// A path between two machines of a fleet, on which not everything arrives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HistoryPath {
    /// Machine that sends
    pub from: String,
    /// Machine that should receive
    pub to: String,
    /// Group and port
    pub group: String,
    /// What became of the probes
    #[cfg_attr(
        feature = "schema",
        schemars(extend("enum" = [
            "not-tested", "silent", "forgotten", "limited", "lossy"
        ]))
    )]
    pub outcome: String,
}

/// A stream of which an examination received datagrams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HistoryStream {
    /// Interface
    pub interface: String,
    /// Source address and port
    pub source: String,
    /// Group and port
    pub group: String,
}

/// A querier, and when it was last heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HistoryQuerier {
    /// Interface
    pub interface: String,
    /// Address of the querier
    pub address: String,
    /// Time of its last query (RFC 3339, UTC)
    pub last_heard: String,
}

impl HistoryEntry {
    fn new(report: &Report, queriers: &[QuerierSighting]) -> Self {
        let has_arrived = |flow: &&FlowStatus| flow.on_wire.or(flow.received).is_some_and(|count| count > 0);
        let stream = |flow: &FlowStatus| {
            Some(HistoryStream {
                interface: flow.interface.clone(),
                source: flow.sender()?.to_string(),
                group: flow.group().to_string(),
            })
        };
        let mut streams: Vec<_> = report.flows.iter().filter(has_arrived).filter_map(stream).collect();
        streams.sort();
        streams.dedup();
        let querier = |sighting: &QuerierSighting| HistoryQuerier {
            interface: sighting.interface.clone(),
            address: sighting.address.to_string(),
            last_heard: rfc3339(sighting.last),
        };
        Self {
            time: rfc3339(SystemTime::now()),
            verdict: verdict(report.verdict()).to_owned(),
            findings: report.findings.iter().map(description).collect(),
            streams,
            queriers: queriers.iter().map(querier).collect(),
            paths: Vec::new(),
        }
    }

    pub(crate) fn of_fleet(report: &FleetReport) -> Self {
        let hosts = report.hosts.len();
        let pairs = || (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        let targets = report.matrix.targets.iter().enumerate();
        let cells = targets.flat_map(|(target, of)| pairs().map(move |pair| (target, of.group, pair)));
        let path = |(target, group, (from, to)): (usize, GroupAddr, FleetPair)| {
            let outcome = report.matrix.outcome(target, (from, to));
            let name = |host: usize| report.hosts.get(host).map(|host| host.name.clone()).unwrap_or_default();
            (from != to && outcome != PathOutcome::Complete).then(|| HistoryPath {
                from: name(from),
                to: name(to),
                group: group.to_string(),
                outcome: outcome.as_str().to_owned(),
            })
        };
        Self {
            time: rfc3339(SystemTime::now()),
            verdict: fleet_verdict(report.verdict()).to_owned(),
            findings: fleet_findings(report),
            paths: cells.filter_map(path).take(MAX_PATHS).collect(),
            ..Self::default()
        }
    }

    fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }

    /// Returns the time of the examination as `2026-11-21 02:14:05Z`; `None` if it is not valid.
    #[must_use]
    pub fn date_and_time(&self) -> Option<String> {
        self.timestamp().map(date_and_time)
    }

    fn is_healthy(&self) -> bool {
        self.verdict == verdict(Verdict::Healthy)
    }

    pub(crate) fn has_same_outcome(&self, other: &Self) -> bool {
        (&self.verdict, &self.findings, &self.paths) == (&other.verdict, &other.findings, &other.paths)
    }
}

/// Returns a finding with its subject: `no-route  on eth0, 239.255.2.3:5000`.
fn description(finding: &Finding) -> String {
    match finding.subject.to_string() {
        subject if subject.is_empty() => finding.id.to_string(),
        subject => format!("{}  {subject}", finding.id),
    }
}

/// Returns a time as in RFC 3339, in UTC with nanoseconds.
fn rfc3339(time: SystemTime) -> String {
    let is_past = time < SystemTime::UNIX_EPOCH;
    let time = Timestamp::try_from(time).unwrap_or(if is_past { Timestamp::MIN } else { Timestamp::MAX });
    format!("{time:.9}")
}

/// Returns the findings of a fleet with the machines: `no-route  on a`, `unicast-only  from a, b to c`.
fn fleet_findings(report: &FleetReport) -> Vec<String> {
    let own = report.hosts.iter().flat_map(|host| {
        host.findings.iter().map(move |finding| format!("{}  on {}", finding.id, host.name))
    });
    let paths = report.findings.iter().map(|FleetFinding { finding, from, to, .. }| {
        format!("{}  from {} to {}", finding.id, from.join(", "), to.join(", "))
    });
    own.chain(paths).collect()
}

const fn fleet_verdict(of: FleetVerdict) -> &'static str {
    verdict(match of {
        FleetVerdict::Healthy => Verdict::Healthy,
        FleetVerdict::Warnings => Verdict::Warnings,
        FleetVerdict::Unknown | FleetVerdict::NeedsRights => Verdict::Unknown,
        FleetVerdict::Faults => Verdict::Faults,
    })
}

/// Returns a verdict as in JSON.
const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Warnings => "warnings",
        Verdict::Faults => "faults",
        _ => "unknown",
    }
}

// Here, because a report of a fleet does not know the history, which compares what it keeps of two of them.
impl FleetReport {
    /// Returns whether another examination has found the same, on the same paths.
    #[must_use]
    pub fn has_same_outcome(&self, other: &Self) -> bool {
        HistoryEntry::of_fleet(self).has_same_outcome(&HistoryEntry::of_fleet(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(path: &Path) -> History {
        History::open(path).unwrap()
    }

    fn entry(minute: usize, verdict: &str) -> HistoryEntry {
        let time = format!("2026-11-21T{:02}:{:02}:00Z", minute / 60 % 24, minute % 60);
        HistoryEntry {
            time,
            verdict: verdict.into(),
            findings: vec!["x".repeat(900)],
            ..HistoryEntry::default()
        }
    }

    #[test]
    fn a_file_is_continued_and_keeps_a_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut recorded = history(&path);
        for minute in 0..6_000 {
            recorded.add(&entry(minute, "healthy")).unwrap();
        }
        recorded.add(&entry(6_000 % 1_440, "faults")).unwrap();
        let size = fs::metadata(&path).unwrap().len();
        assert!(size > MAX_SIZE / 4 && size <= MAX_SIZE && size == recorded.size, "{size}");
        assert!(!folder.path().join("history.new").exists());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().all(|line| line.starts_with("{\"event\":\"history\"")));
        assert!(history(&path).timeline.onset().is_some());
    }

    #[test]
    fn damaged_lines_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        history(&path).add(&entry(1, "faults")).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"\xff\xfe\n{\"event\":\"history\",\"ti").unwrap();
        let mut continued = history(&path);
        assert_eq!(continued.timeline.changes().count(), 1);
        continued.add(&entry(2, "healthy")).unwrap();
        assert_eq!(history(&path).timeline.changes().count(), 2);
    }

    #[test]
    fn a_file_with_something_else_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        let line = "x".repeat(2 * MAX_LINE as usize);
        for text in ["\n", "{}\n{\"time\":1}\n", "secret", &line] {
            fs::write(&path, text).unwrap();
            let error = History::open(&path).unwrap_err();
            assert!(matches!(error, HistoryError::NotHistory) && error.remedy().is_some(), "{error}");
            assert!(matches!(HistoryTimeline::read(&path), Err(HistoryError::NotHistory)));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        for text in ["", "{\"ev", "{\"event\":\"history\",\"ti"] {
            fs::write(&path, text).unwrap();
            history(&path).add(&entry(1, "faults")).unwrap();
            assert_eq!(history(&path).timeline.changes().count(), 1);
        }
    }

    #[test]
    fn a_file_of_the_user_beside_the_history_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beside) = (folder.path().join("history"), folder.path().join("history.new"));
        fs::write(&beside, "mine").unwrap();
        let mut recorded = history(&path);
        recorded.add(&entry(1, "healthy")).unwrap();
        recorded.add(&entry(2, "faults")).unwrap();
        recorded.shorten().unwrap();
        assert_eq!(fs::read_to_string(&beside).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(history(&path).timeline.changes().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_shortened_file_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut recorded = history(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        recorded.add(&entry(1, "healthy")).unwrap();
        recorded.shorten().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
