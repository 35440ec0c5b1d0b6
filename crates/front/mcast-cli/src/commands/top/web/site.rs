//! The page, its state, and its events.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use mcast_http::{HttpRequest, HttpSite, SiteReply};
use mcast_pace::ClockTime;
use mcast_watch::discovery::{DiscoveredKind, DiscoveryCounts, DiscoveryEvent};
use mcast_watch::live::{Monitor, MonitorReport};
use mcast_watch::{Row, SequenceStatistics, StreamKey};

use super::changes::{ChangeLog, milliseconds};
use super::examiner::{Examination, Examiner};
use super::section::{Section, SectionChange, SectionItem, json};
use super::trends::{Moment, Trends};
use super::views;

/// How often the state is updated. Browsers receive one event each time, which is made once for all of them.
const INTERVAL: Duration = Duration::from_secs(1);
/// A stream is silent after this time without datagrams, and its loss has ended after this time without more.
const SILENT: Duration = Duration::from_secs(5);
const LOSS_ENDS: u32 = 30;
/// With more streams, a snapshot has only the last minute of each.
const MAX_HOURS: usize = 500;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// On everything: nothing from elsewhere is loaded, no other page may contain this one, and its address, which may have a token, is not
/// passed on.
const HEADERS: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n";

/// What is served.
#[derive(Debug)]
pub(super) struct Site {
    monitor: Monitor,
    examiner: Option<Examiner>,
    due: ClockTime,
    known: HashMap<StreamKey, KnownStream>,
    next_stream: u32,
    streams: Section,
    members: Section,
    services: Section,
    findings: Section,
    /// The rates of all streams, and what is known of the examination and of the capture, as JSON.
    numbers: BTreeMap<u32, String>,
    summary: String,
    examination: String,
    dropped: DiscoveryCounts,
    changes: ChangeLog,
    time: SystemTime,
    /// The state as it was sent last, with the event that it includes.
    cached: Option<(String, String)>,
}

/// What is kept of a stream between updates.
#[derive(Debug, Default)]
struct KnownStream {
    id: u32,
    trends: Trends,
    /// Datagrams received and missing at the last update, if they are numbered.
    numbers: Option<(u64, u64)>,
    is_silent: bool,
    /// Datagrams lost since its loss began, and seconds since the latest of them; `None` if nothing is being lost.
    losing: Option<(u64, u32)>,
}

impl Site {
    pub(super) fn new(monitor: Monitor, examiner: Option<Examiner>) -> Self {
        Self {
            monitor,
            examiner,
            due: ClockTime::START,
            known: HashMap::new(),
            next_stream: 1,
            streams: Section::default(),
            members: Section::default(),
            services: Section::default(),
            findings: Section::default(),
            numbers: BTreeMap::new(),
            summary: "{}".into(),
            examination: "null".into(),
            dropped: DiscoveryCounts::default(),
            changes: ChangeLog::default(),
            time: SystemTime::UNIX_EPOCH,
            cached: None,
        }
    }

    /// Takes the present state of the network. Returns the event.
    fn update(&mut self, now: SystemTime) -> String {
        self.time = now;
        let picture = self.monitor.report(now);
        let before = std::mem::take(&mut self.numbers);
        let streams = self.take_streams(now, &picture);
        let changed = [
            ("streams", self.streams.replace(streams)),
            ("members", self.members.replace(views::members(&picture))),
            ("services", self.take_services(now, &picture)),
            ("findings", self.take_findings()),
        ];
        for (section, change) in &changed {
            self.log(now, section, change);
        }
        self.changes.expire(now);
        self.summary = self.summarize(&picture);

        let mut event = self.head();
        event.push_str(",\"n\":{");
        let differing = self.numbers.iter().filter(|(id, text)| before.get(id) != Some(text));
        write_numbers(differing, &mut event);
        event.push('}');
        for (section, change) in &changed {
            if !change.is_empty() {
                // Writing to a string does not fail.
                let _ = write!(event, ",\"{section}\":");
                self.section(section).write_change(change, &mut event);
            }
        }
        event.push_str(",\"changes\":");
        self.changes.write_new(&mut event);
        event.push('}');
        event
    }

    /// Returns what events and the state begin with.
    fn head(&self) -> String {
        format!(
            "{{\"time\":{},\"sum\":{},\"examined\":{}",
            milliseconds(self.time),
            self.summary,
            self.examination
        )
    }

    fn section(&self, name: &str) -> &Section {
        match name {
            "streams" => &self.streams,
            "members" => &self.members,
            "services" => &self.services,
            _ => &self.findings,
        }
    }

    fn take_streams(&mut self, now: SystemTime, picture: &MonitorReport) -> BTreeMap<String, SectionItem> {
        let mut items = BTreeMap::new();
        let (mut silent, mut back, mut lossy, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in &picture.watch.streams {
            let next = self.next_stream;
            let known = self
                .known
                .entry(row.key)
                .or_insert_with(|| KnownStream { id: next, ..KnownStream::default() });
            self.next_stream += u32::from(known.id == next);
            let item = views::stream(row, picture);
            let (moment, lost) = known.measure(row, picture);
            known.trends.push(moment);
            self.numbers.insert(known.id, numbers(row, picture, moment));
            let is_silent = !picture.is_file && row.quiet >= SILENT;
            match (std::mem::replace(&mut known.is_silent, is_silent), is_silent) {
                (false, true) => silent.push(item.label.clone()),
                (true, false) => back.push(item.label.clone()),
                _ => {}
            }
            match known.follow_loss(lost) {
                Some(LossChange::Began(lost)) => lossy.push(format!("{}: lost {lost}", item.label)),
                Some(LossChange::Ended(lost)) => whole.push(format!("{}: lost {lost} in all", item.label)),
                None => {}
            }
            items.insert(known.id.to_string(), item);
        }
        for (kind, event, texts) in [
            ("stream", "silent", silent),
            ("stream", "back", back),
            ("loss", "new", lossy),
            ("loss", "ended", whole),
        ] {
            self.changes.add(now, kind, event, texts);
        }
        if self.known.len() > items.len() {
            let there: std::collections::HashSet<_> =
                picture.watch.streams.iter().map(|row| row.key).collect();
            self.known.retain(|key, _| there.contains(key));
        }
        items
    }

    fn take_services(&mut self, now: SystemTime, picture: &MonitorReport) -> SectionChange {
        let (events, counts) = self.monitor.discovered(now);
        self.dropped = counts;
        let mut change = SectionChange::default();
        for event in events {
            match event {
                DiscoveryEvent::Appeared(entry) | DiscoveryEvent::Changed { now: entry, .. }
                    if is_shown(entry.kind) =>
                {
                    let item = views::service(&entry, picture);
                    self.services.set(views::service_key(&entry.key), item, &mut change);
                }
                DiscoveryEvent::Departed { entry, .. } => {
                    self.services.remove(&views::service_key(&entry.key), &mut change);
                }
                DiscoveryEvent::Omitted(_) => {
                    let entries = self.monitor.discovered_entries();
                    let shown = entries.iter().filter(|entry| is_shown(entry.kind));
                    let items =
                        shown.map(|entry| (views::service_key(&entry.key), views::service(entry, picture)));
                    return self.services.replace(items.collect());
                }
                _ => {}
            }
        }
        change
    }

    fn take_findings(&mut self) -> SectionChange {
        let Some(Examination { at, report }) = self.examiner.as_ref().and_then(Examiner::take) else {
            return SectionChange::default();
        };
        match report {
            Ok(report) => {
                let summary = serde_json::json!({
                    "at": milliseconds(at), "verdict": report.verdict(), "summary": report.summary(),
                });
                self.examination = summary.to_string();
                self.findings.replace(views::findings(&report.findings))
            }
            Err(error) => {
                let summary = serde_json::json!({ "at": milliseconds(at), "failed": error });
                self.examination = summary.to_string();
                SectionChange::default()
            }
        }
    }

    fn log(&mut self, now: SystemTime, section: &str, change: &SectionChange) {
        let kind = match section {
            "streams" => "stream",
            "members" => "member",
            "services" => "service",
            _ => "finding",
        };
        let labels =
            |list: &[(String, String)]| list.iter().map(|(_, label)| label.clone()).collect::<Vec<_>>();
        self.changes.add(now, kind, "new", labels(&change.new));
        // What differs in a stream or member is shown where it is listed.
        if kind == "service" {
            self.changes.add(now, kind, "changed", labels(&change.changed));
        }
        self.changes.add(now, kind, "gone", labels(&change.gone));
    }

    fn summarize(&self, picture: &MonitorReport) -> String {
        let rate = picture.total_rate();
        let (totals, dropped) = (&picture.watch.totals, &self.dropped);
        let summary = serde_json::json!({
            "interfaces": self.monitor.interfaces(),
            "bits": rate.bits_per_second.round(),
            "rate": rate.datagrams_per_second.round(),
            "omitted": {
                "streams": totals.streams_evicted,
                "members": totals.members_evicted,
                "announcements": dropped.evicted + dropped.refused + totals.announcements_omitted,
                "packets": picture.lost,
            },
            "over": picture.is_over,
        });
        summary.to_string()
    }

    /// Returns the state as JSON, with what happened over the last hour in a snapshot.
    fn state(&self, last: &str, is_snapshot: bool) -> String {
        let mut state = self.head();
        let _ = write!(state, ",\"version\":{},\"last\":{}", json(&env!("CARGO_PKG_VERSION")), json(&last));
        let _ = write!(state, ",\"begun\":{}", milliseconds(self.monitor.begun()));
        state.push_str(",\"n\":{");
        write_numbers(self.numbers.iter(), &mut state);
        state.push_str("},\"minutes\":");
        self.write_trends(&mut state, Trends::write_minute);
        if is_snapshot && self.known.len() <= MAX_HOURS {
            state.push_str(",\"hours\":");
            self.write_trends(&mut state, Trends::write_hour);
        }
        for name in ["streams", "members", "services", "findings"] {
            let _ = write!(state, ",\"{name}\":");
            self.section(name).write(&mut state);
        }
        state.push_str(",\"changes\":");
        self.changes.write(&mut state);
        state.push('}');
        state
    }

    fn write_trends(&self, out: &mut String, write: fn(&Trends, &mut String)) {
        out.push('{');
        for (number, known) in self.known.values().enumerate() {
            let _ = write!(out, "{}\"{}\":", if number > 0 { "," } else { "" }, known.id);
            write(&known.trends, out);
        }
        out.push('}');
    }

    /// Returns the page as one file that needs nothing else.
    fn snapshot(&self) -> String {
        // Nothing in it may end the script that contains it.
        let state = self.state("", true).replace('<', "\\u003c");
        let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; \
            style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">";
        PAGE.replace(
            "<link rel=\"stylesheet\" href=\"page.css\">",
            &format!("{policy}\n<style>\n{STYLE}</style>"),
        )
        .replace(
            "<script src=\"page.js\" defer></script>",
            &format!("<script type=\"application/json\" id=\"snapshot\">{state}</script>"),
        )
        .replace("</body>", &format!("<script>\n{SCRIPT}</script>\n</body>"))
    }
}

/// Groups are shown as streams and members.
fn is_shown(kind: DiscoveredKind) -> bool {
    kind != DiscoveredKind::Group
}

/// How the loss of a stream changed.
enum LossChange {
    Began(u64),
    Ended(u64),
}

impl KnownStream {
    /// Returns the rate, and the loss since the last update, with the number of lost datagrams.
    fn measure(&mut self, row: &Row, picture: &MonitorReport) -> (Moment, u64) {
        let bits = picture.rate(row).bits_per_second as f32;
        let Some(SequenceStatistics { received, missing, .. }) = row.numbers else {
            return (Moment { bits, loss: 0.0 }, 0);
        };
        // What is missing becomes less when it arrives late.
        let (before, lost_before) = self.numbers.replace((received, missing)).unwrap_or_default();
        let (received, lost) = (received.saturating_sub(before), missing.saturating_sub(lost_before));
        let loss = if lost > 0 { lost as f32 / (received + lost) as f32 * 100.0 } else { 0.0 };
        (Moment { bits, loss }, lost)
    }

    /// Notices that a stream begins to lose datagrams, and that it has stopped.
    fn follow_loss(&mut self, lost: u64) -> Option<LossChange> {
        match (&mut self.losing, lost) {
            (None, 0) => None,
            (None, lost) => {
                self.losing = Some((lost, 0));
                Some(LossChange::Began(lost))
            }
            (Some((all, quiet)), 0) => {
                *quiet += 1;
                let all = (*quiet >= LOSS_ENDS).then_some(*all)?;
                self.losing = None;
                Some(LossChange::Ended(all))
            }
            (Some((all, quiet)), lost) => {
                (*all, *quiet) = (*all + lost, 0);
                None
            }
        }
    }
}

/// Returns what changes all the time: bits and datagrams per second, the loss of the latest second and of all in percent, the number
/// of lost datagrams, and the jitter in microseconds.
fn numbers(row: &Row, picture: &MonitorReport, moment: Moment) -> String {
    let rate = picture.rate(row);
    let mut text = format!("[{:.0},{:.0}", rate.bits_per_second, rate.datagrams_per_second);
    let _ = match row.numbers {
        Some(numbers) => {
            write!(text, ",{:.2},{:.3},{}", moment.loss, numbers.loss() * 100.0, numbers.missing)
        }
        None => write!(text, ",null,null,null"),
    };
    let _ = match row.jitter {
        Some(jitter) => write!(text, ",{}]", jitter.jitter.as_micros()),
        None => write!(text, ",null]"),
    };
    text
}

fn write_numbers<'a>(numbers: impl Iterator<Item = (&'a u32, &'a String)>, out: &mut String) {
    for (number, (id, text)) in numbers.enumerate() {
        let _ = write!(out, "{}\"{id}\":{text}", if number > 0 { "," } else { "" });
    }
}

/// Returns a response that browsers do not take for anything else, and do not show in another page.
fn served(content_type: &'static str, body: impl Into<Cow<'static, str>>) -> SiteReply {
    SiteReply::Page { status: "200 OK", content_type, headers: Cow::Borrowed(HEADERS), body: body.into() }
}

impl HttpSite for Site {
    fn respond(&mut self, _now: ClockTime, request: &HttpRequest, path: &str, last: &str) -> SiteReply {
        match path {
            "/" => served("text/html; charset=utf-8", PAGE),
            "/page.css" => served("text/css; charset=utf-8", STYLE),
            "/page.js" => served("text/javascript; charset=utf-8", SCRIPT),
            "/state.json" => {
                if self.cached.as_ref().is_none_or(|(at, _)| at != last) {
                    self.cached = Some((last.to_owned(), self.state(last, false)));
                }
                let body = self.cached.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
                served("application/json", body)
            }
            "/history.json" => {
                let id = request.parameter("stream").and_then(|id| id.parse::<u32>().ok());
                let known = self.known.values().find(|known| Some(known.id) == id);
                let Some(known) = known else { return SiteReply::Nothing("there is no such stream") };
                let mut body = String::from("{\"minute\":");
                known.trends.write_minute(&mut body);
                body.push_str(",\"hour\":");
                known.trends.write_hour(&mut body);
                body.push('}');
                served("application/json", body)
            }
            "/snapshot.html" => {
                let name = mcast_json::rfc3339(self.time).replace(':', "");
                let name = name.split('.').next().unwrap_or_default();
                SiteReply::Page {
                    status: "200 OK",
                    content_type: "text/html; charset=utf-8",
                    headers: format!(
                        "{HEADERS}Content-Disposition: attachment; filename=\"multicast-{name}.html\"\r\n"
                    )
                    .into(),
                    body: self.snapshot().into(),
                }
            }
            "/events" => SiteReply::Events,
            "/favicon.ico" => SiteReply::Page {
                status: "204 No Content",
                content_type: "image/x-icon",
                headers: Cow::Borrowed(""),
                body: Cow::Borrowed(""),
            },
            _ => SiteReply::Nothing("there is nothing here: request / for the page, or /state.json"),
        }
    }

    fn handle_timeout(&mut self, now: ClockTime, _clients: usize) -> Option<String> {
        // Missed updates, as after a suspend, are skipped.
        self.due = (self.due + INTERVAL).max(now);
        Some(self.update(SystemTime::now()))
    }

    fn poll_timeout(&self) -> Option<ClockTime> {
        Some(self.due)
    }
}
