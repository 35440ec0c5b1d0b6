//! What is reported: events, and at the end messages, repairs and the state of subscribers.

use std::net::SocketAddr;
use std::time::Duration;

use mcast_stream::publisher::{Audience, PublisherEvent, SubscriberProgress, lacking};
use mcast_stream::wire::{StreamId, SubscriberId};
use mcast_stream::{Closing, HistoryServer, HostStatus, PathChange, Publisher};
use mcast_terminal::Console;

use super::acknowledgements::AckReport;
use super::rate::{ParityReport, RateReport};
use crate::log_lines::LogLines;
use crate::message_layer::{Repairs, ServedHistory};
use crate::output::{bits_per_second, bytes, count, count_of, print_record, record, seconds};

/// The possible causes if no subscriber sent feedback.
const NO_FEEDBACK: &str = "no subscriber reported in: none listened, all are best-effort, or a firewall drops the UDP \
                           datagrams that they send to this machine";

/// Without feedback.
const ONE_WAY: &str = "one-way: what subscribers received is unknown";

/// Reports an event: that a subscriber joined or left, for instance.
pub(super) fn event(event: &PublisherEvent, publisher: &Publisher, lines: &LogLines<'_>) {
    let report = event.report(publisher);
    let subscriber = report.number_of("subscriber").map(SubscriberId);
    let about = subscriber.and_then(|subscriber| publisher.address_of(subscriber));
    lines.about(about.map(|address| address.ip())).event(&report, event.severity());
}

/// Reports that a path went down, or works again.
pub(super) fn path_change(change: &PathChange, lines: &LogLines<'_>) {
    match change {
        PathChange::Down { path, error } => lines
            .warn(format_args!("path {} is down: {error}; it is used again as soon as it works", path + 1)),
        PathChange::Up { path } => lines.note(format_args!("path {} works again", path + 1)),
        PathChange::QueueFull { error, .. } => lines.warn(format_args!("{error}: repaired")),
        PathChange::HostUnreachable { host, error: None } => lines.warn(format_args!(
            "{host} is unreachable: the host is down, or nothing receives there; it gets the stream when it answers"
        )),
        PathChange::HostUnreachable { host, error: Some(error) } => {
            lines.warn(format_args!("{host} is unreachable: {error}; it gets the stream when it answers"));
        }
        PathChange::HostReachable { host } => lines.note(format_args!("{host} is reachable again")),
        _ => {}
    }
}

record! {
    pub(super) fn new(
        stream: StreamId,
        published: (u64, u64),
        closing: &Closing,
        hosts: &[HostStatus],
        history: Option<&HistoryServer>,
        time: Duration
    ) {
        let ((messages, bytes), statistics) = (published, &closing.statistics);
    }

    /// One object at the end.
    pub(super) struct Report {
        /// Stream ID, 16 hexadecimal digits
        stream: String = stream.to_string(),
        /// Messages published
        messages: u64 = messages,
        /// Bytes in the messages
        bytes: u64 = bytes,
        /// Time from the start of publishing until all subscribers had everything or the wait for them ended, in
        /// seconds
        seconds: f64 = time.as_secs_f64(),
        /// Data datagrams sent, excluding repairs
        datagrams: u64 = statistics.datagrams,
        /// Datagrams that were accepted and never sent
        unsent_datagrams: u64 = closing.unsent,
        /// With `--log`: messages in the log that were not sent, which the next publisher sends
        unsent_messages: u64 = closing.unsent_messages,
        /// Messages that were read and not published, because of Ctrl-C or an error
        unpublished_messages: u64 = 0,
        /// Repairs sent
        repairs: Repairs = Repairs::of(statistics),
        /// Parity sent (`--fec`)
        parity: ParityReport = ParityReport::of(statistics),
        /// Whether subscribers report what they received; false with `--flow one-way`
        delivery_known: bool = !closing.is_one_way,
        /// Number of subscribers by state, including former ones; best-effort subscribers are not counted
        subscriber_counts: SubscriberCounts = SubscriberCounts::new(&closing.audience),
        #[serde(skip)]
        audience: Audience = closing.audience,
        /// Subscribers that ever joined, without best-effort subscribers; of subscribers that left, only the last few
        /// thousand
        subscribers: Vec<Member> = closing.subscriber_progress.iter().map(Member::new).collect(),
        /// Hosts that the stream was sent to, without multicast
        hosts: Vec<Host> = hosts.iter().map(Host::new).collect(),
        /// With `--ack`: what was acknowledged
        #[serde(skip_serializing_if = "Option::is_none")]
        acknowledgements: Option<AckReport> = closing.acknowledged.map(|progress| {
            AckReport::new(progress, closing.unsent_messages, &closing.watermarks)
        }),
        /// With `--rate auto`: the rate at the end
        #[serde(skip_serializing_if = "Option::is_none")]
        automatic_rate: Option<RateReport> = None,
        /// With `--serve-history`: what the history server has done
        #[serde(skip_serializing_if = "Option::is_none")]
        history: Option<ServedHistory> = history.map(|server| ServedHistory::new(&server.statistics())),
        #[serde(skip)]
        time: Duration = time,
    }
}

record! {
    fn new(audience: &Audience) {}

    /// The subscribers by state.
    struct SubscriberCounts {
        /// Subscribers that have received everything
        complete: u64 = audience.complete,
        /// Subscribers whose application is still reading what they have received, or a history
        unread: u64 = audience.unread,
        /// Subscribers that have not confirmed everything
        behind: u64 = audience.behind,
        /// Subscribers that have permanently lost data
        incomplete: u64 = audience.incomplete,
        /// Subscribers that left before the end
        left: u64 = audience.left,
        /// Subscribers that left because of an error
        failed: u64 = audience.failed,
        /// Subscribers that fell silent before they had confirmed everything
        unknown: u64 = audience.unknown,
    }
}

record! {
    fn new(status: &HostStatus) {}

    /// Host
    struct Host {
        /// Address and UDP port
        address: String = status.address.to_string(),
        /// Whether it can be reached: no error was reported, or it has answered since
        reachable: bool = status.is_reachable,
        /// Datagrams of data and repairs that were not sent to it because it could not be reached
        skipped_datagrams: u64 = status.skipped,
    }
}

record! {
    fn new((subscriber, address, standing): &(SubscriberId, SocketAddr, SubscriberProgress)) {
        let (name, missing, lost) = match *standing {
            SubscriberProgress::Complete => ("complete", 0, 0),
            SubscriberProgress::Unread => ("unread", 0, 0),
            SubscriberProgress::Behind { datagrams } => ("behind", datagrams, 0),
            SubscriberProgress::Incomplete { datagrams, messages } => ("incomplete", datagrams, messages),
            SubscriberProgress::Left => ("left", 0, 0),
            SubscriberProgress::Failed => ("failed", 0, 0),
            _ => ("unknown", 0, 0),
        };
    }

    /// Subscriber
    struct Member {
        /// ID of the subscriber
        subscriber: String = subscriber.to_string(),
        /// Address and port of the subscriber
        address: String = address.to_string(),
        /// State of the subscriber: `complete` (has received everything), `unread` (its application is still reading
        /// what it has received, or a history), `behind` (has not confirmed everything), `incomplete` (has permanently
        /// lost data), `left` (left before the end), `failed` (left because of an error) or `unknown` (fell silent)
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["complete", "unread", "behind", "incomplete", "left", "failed", "unknown"])))]
        state: &'static str = name,
        /// Datagrams that the subscriber has not confirmed (`behind`) or has given up (`incomplete`)
        missing: u64 = missing,
        /// Messages that the subscriber has reported as lost to its application
        lost_messages: u64 = lost,
    }
}

impl Member {
    /// Returns a description; `None` for a subscriber that has everything.
    fn description(&self) -> Option<String> {
        let Self { state, missing, lost_messages, .. } = self;
        Some(match *state {
            "complete" => return None,
            "unread" => "is still reading".into(),
            "behind" if *missing == 0 => "has not confirmed the end".into(),
            "behind" => format!("has not confirmed the last {}", count_of(*missing, "datagram")),
            "incomplete" => lacking(*missing, *lost_messages),
            "left" => "left before the end".into(),
            "failed" => "left because of an error".into(),
            _ => "fell silent: what it has is unknown".into(),
        })
    }
}

impl Report {
    pub(super) fn with_rate(self, automatic_rate: Option<RateReport>) -> Self {
        Self { automatic_rate, ..self }
    }

    /// Adds how many messages were read and not published.
    pub(super) fn with_unpublished(self, unpublished_messages: u64) -> Self {
        Self { unpublished_messages, ..self }
    }

    /// Returns whether all messages were acknowledged as required, if anything is.
    pub(super) fn is_acknowledged(&self) -> Option<bool> {
        self.acknowledgements.as_ref().map(AckReport::is_complete)
    }

    pub(super) fn print(&self, json: bool, console: &Console) -> anyhow::Result<()> {
        if json {
            print_record(console, "summary", self)?;
        }
        let rate =
            bits_per_second(self.bytes, self.time).map(|rate| format!(" ({rate})")).unwrap_or_default();
        console.note(format_args!(
            "published {}, {} in {}{rate}; repaired {}",
            count_of(self.messages, "message"),
            bytes(self.bytes),
            seconds(self.time),
            count_of(self.repairs.count(), "datagram"),
        ));
        if self.unsent_datagrams > 0 {
            console.warn(format_args!(
                "{} were never sent: --linger allows more time",
                count_of(self.unsent_datagrams, "datagram")
            ));
        }
        if self.unsent_messages > 0 {
            console.warn(format_args!(
                "{} in the log were not sent: the next publisher sends them; --linger allows more time",
                count_of(self.unsent_messages, "message")
            ));
        }
        if self.unpublished_messages > 0 {
            console.warn(format_args!(
                "{} read but not published: neither in a log nor sent",
                count_of(self.unpublished_messages, "message")
            ));
        }
        let complete = self.audience.complete;
        if self.parity.datagrams > 0 {
            console.note(format_args!("sent {} of parity", count_of(self.parity.datagrams, "datagram")));
        }
        match self.audience.total() {
            _ if !self.delivery_known => console.note(ONE_WAY),
            0 => console.note(NO_FEEDBACK),
            1 => console.note(format_args!("{complete} of 1 subscriber has everything")),
            all => console.note(format_args!(
                "{} of {} subscribers have everything",
                count(complete),
                count(all)
            )),
        }
        for Host { address, reachable, skipped_datagrams: skipped } in &self.hosts {
            if *skipped > 0 {
                let state = if *reachable { "was unreachable for a time" } else { "is unreachable" };
                console.note(format_args!(
                    "  {address}  {state}: {} not sent to it",
                    count_of(*skipped, "datagram")
                ));
            }
        }
        for member in &self.subscribers {
            if let Some(description) = member.description() {
                console.note(format_args!("  {}  {description}", member.address));
            }
        }
        if let Some(acknowledgements) = &self.acknowledgements {
            acknowledgements.print(console);
        }
        if let Some(history) = &self.history {
            console.note(history.text());
        }
        Ok(())
    }
}

mcast_json::schemas! { pub(crate),
    RecordSchema::new::<Report>("publish-report", "Closing report (`mcast publish --json`)").event("summary"),
    RecordSchema::new::<super::refusals::RefusalRecord>(
        "publish-event",
        "Publisher event (`mcast publish --json`)",
    )
    .events(super::refusals::EVENTS),
    RecordSchema::new::<super::log_hold::HoldRecord>(
        "publish-log",
        "Limits of the log (`mcast publish --json`)",
    )
    .events(super::log_hold::EVENTS),
}
