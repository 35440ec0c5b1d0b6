//! Exports statistics through the [`metrics`](https://docs.rs/metrics) facade (feature `metrics`).
//!
//! [`Publisher::export_metrics`], [`LoggedPublisher::export_metrics`], [`Subscriber::export_metrics`], [`HistoryServer::export_metrics`] and
//! [`SnapshotServer::export_metrics`] pass the present counters to the installed recorder. They are not called automatically, so datagrams cost nothing extra: call them at intervals, for example
//! every second. Without a recorder they do nothing.
//!
//! Each name begins with `mcast_stream_publisher_`, `mcast_stream_subscriber_`, `mcast_stream_history_` or `mcast_stream_snapshot_`, and has the label
//! `stream` (16 hexadecimal digits). Those of publishers and subscribers also have the labels `group` (`239.1.2.3:7000`; several are separated by commas) and `interface` (the name that was
//! given; empty if the system chose). [`describe`] passes a description of each to the recorder.
//!
//! Each field of [`PublisherStatistics`] and
//! [`SubscriberStatistics`] is exported under its own name: a number that only grows is a
//! counter, with `_total` behind its name, a time is a gauge, with `_seconds`, and everything else is a gauge. In addition:
//!
//! | both | |
//! |---|---|
//! | `round_trip_sample_seconds` | a histogram of the round-trip time, with one sample per export |
//!
//! | publisher | |
//! |---|---|
//! | `rate_bytes_per_second`, `queueing_seconds` | the present rate, if it is limited, and the queueing delay on the path that limits an [automatic](crate::PublisherBuilder::auto_rate) one |
//! | `settled_total`, `unacknowledged_total`, `quorum_lost` | with [`acknowledge`](crate::PublisherBuilder::acknowledge): messages acknowledged as required or given up, messages given up, and 1 if messages cannot be acknowledged at present |
//! | `log_held` | with a [log](crate::LoggedPublisher::export_metrics): 1 if it is larger or older than it is to be, because messages in it were not sent, acknowledged or received |
//! | `acked_received`, `acked_processed`, `acked_missing` | the same, for each present subscriber with a name, which is the label `subscriber`: the first message that it has not received, the first that it has not processed, and the number of messages after those that it has received |
//!
//! | history server | |
//! |---|---|
//! | `requests_total`, `postponed_total`, `refused_total` | requests received, those of them that were postponed because others were served first, and those that were refused |
//! | `records_total`, `bytes_total` | records sent, and bytes |
//!
//! | snapshot server | |
//! |---|---|
//! | `refused_total` | requests that were refused |
//!
//! For Prometheus, install the recorder of the crate `metrics-exporter-prometheus`, which also serves the metrics over
//! HTTP, before the first export:
//!
//! ```ignore
//! metrics_exporter_prometheus::PrometheusBuilder::new().with_http_listener(([127, 0, 0, 1], 9000)).install()?;
//! mcast_stream::metrics::describe();
//! loop {
//!     publisher.export_metrics();
//!     std::thread::sleep(std::time::Duration::from_secs(1));
//! }
//! ```

use std::time::Duration;

use ::metrics::{
    Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use mcast_stream_proto::{Figure, FigureValue};

#[cfg(feature = "log")]
use crate::LoggedPublisher;
use crate::publisher::{PublisherStatistics, SubscriberPresence, Watermarks};
use crate::subscriber::SubscriberStatistics;
#[cfg(feature = "history")]
use crate::{HistoryServer, HistoryServerStatistics, SnapshotServer};
use crate::{Publisher, Subscriber};

/// The name, description and present value of a metric.
type Metric = (&'static str, &'static str, u64);

/// Passes a description of every metric to the recorder. Call it once.
pub fn describe() {
    describe_figures(PUBLISHER, PublisherStatistics::default().figures());
    describe_figures(SUBSCRIBER, SubscriberStatistics::default().figures());
    #[cfg(feature = "history")]
    for (name, meaning, _) in history_counters(&Default::default()) {
        describe_counter!(format!("{HISTORY}{name}"), meaning);
    }
    #[cfg(feature = "history")]
    describe_counter!(SNAPSHOTS_REFUSED, "requests for a snapshot that were refused");
    describe_gauge!(format!("{PUBLISHER}rate_bytes_per_second"), "the present rate");
    let queueing = "the queueing delay on the path that limits an automatic rate";
    describe_gauge!(format!("{PUBLISHER}queueing_seconds"), Unit::Seconds, queueing);
    describe_counter!(format!("{PUBLISHER}{SETTLED}"), "messages acknowledged as required, or given up");
    describe_counter!(format!("{PUBLISHER}{UNACKNOWLEDGED}"), "messages given up");
    describe_gauge!(format!("{PUBLISHER}{QUORUM_LOST}"), "1 if messages cannot be acknowledged as required");
    let held =
        "1 if the log exceeds its limits because messages in it were not sent, acknowledged or received";
    describe_gauge!(format!("{PUBLISHER}{LOG_HELD}"), held);
    for (name, meaning, _) in subscriber_gauges(0, 0, 0) {
        describe_gauge!(format!("{PUBLISHER}{name}"), meaning);
    }
}

fn describe_figures(prefix: &str, figures: impl Iterator<Item = Figure>) {
    for Figure { name, help, value, .. } in figures {
        match value {
            FigureValue::Count(_) => describe_counter!(format!("{prefix}{name}_total"), help),
            FigureValue::Level(_) => describe_gauge!(format!("{prefix}{name}"), help),
            FigureValue::Time(_) => describe_gauge!(format!("{prefix}{name}_seconds"), Unit::Seconds, help),
        }
    }
    let sample = "the round-trip time at each export";
    describe_histogram!(format!("{prefix}round_trip_sample_seconds"), Unit::Seconds, sample);
}

impl Publisher {
    /// Passes the present counters to the recorder of the program (see [`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        let statistics = self.statistics();
        let labels = labels(self.stream().0, self.labels());
        export(PUBLISHER, statistics.figures(), statistics.round_trip, &labels);
        if let Some(rate) = statistics.rate {
            gauge!(format!("{PUBLISHER}rate_bytes_per_second"), labels.clone()).set(rate as f64);
        }
        if statistics.limiting.is_some() {
            let queueing = statistics.queueing.as_secs_f64();
            gauge!(format!("{PUBLISHER}queueing_seconds"), labels.clone()).set(queueing);
        }
        if let Some(progress) = self.ack_progress() {
            counter!(format!("{PUBLISHER}{SETTLED}"), labels.clone()).absolute(progress.settled.0);
            counter!(format!("{PUBLISHER}{UNACKNOWLEDGED}"), labels.clone())
                .absolute(progress.unacknowledged);
            gauge!(format!("{PUBLISHER}{QUORUM_LOST}"), labels.clone())
                .set(f64::from(u8::from(progress.is_lost)));
            self.export_watermarks(&labels);
        }
    }
}

#[cfg(feature = "log")]
impl LoggedPublisher {
    /// Passes the present counters of the publisher, and whether its log is held, to the recorder of the program (see
    /// [`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        let publisher = crate::Publish::publisher(self);
        publisher.export_metrics();
        let labels = labels(publisher.stream().0, publisher.labels());
        let is_held = self.hold().is_some();
        gauge!(format!("{PUBLISHER}{LOG_HELD}"), labels).set(f64::from(u8::from(is_held)));
    }
}

impl Publisher {
    /// Passes what the present subscribers that have a name have acknowledged. Others have no label that stays the same.
    fn export_watermarks(&self, labels: &[Label]) {
        for watermarks in self.watermarks().iter().filter(|each| each.presence == SubscriberPresence::Present)
        {
            let Some(name) = watermarks.name else { continue };
            let mut labels = labels.to_vec();
            labels.push(Label::new("subscriber", name.to_string()));
            let Watermarks { received, processed, missing, .. } = *watermarks;
            for (metric, _, value) in subscriber_gauges(received.0, processed.0, missing) {
                gauge!(format!("{PUBLISHER}{metric}"), labels.clone()).set(value as f64);
            }
        }
    }
}

impl Subscriber {
    /// Passes the present counters to the recorder of the program (see [`metrics`](crate::metrics)). Does nothing
    /// before the first datagram of the stream.
    pub fn export_metrics(&self) {
        let Some(stream) = self.stream() else { return };
        let statistics = self.statistics();
        let labels = labels(stream.0, self.labels());
        export(SUBSCRIBER, statistics.figures(), statistics.round_trip, &labels);
    }
}

#[cfg(feature = "history")]
impl HistoryServer {
    /// Passes the present counters to the recorder of the program (see [`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        let labels = vec![stream_label(self.stream().0)];
        for (name, _, value) in history_counters(&self.statistics()) {
            counter!(format!("{HISTORY}{name}"), labels.clone()).absolute(value);
        }
    }
}

#[cfg(feature = "history")]
impl SnapshotServer {
    /// Passes the present counters to the recorder of the program (see [`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        counter!(SNAPSHOTS_REFUSED, vec![stream_label(self.stream().0)]).absolute(self.refused());
    }
}

const PUBLISHER: &str = "mcast_stream_publisher_";
const SUBSCRIBER: &str = "mcast_stream_subscriber_";
const HISTORY: &str = "mcast_stream_history_";
const SNAPSHOTS_REFUSED: &str = "mcast_stream_snapshot_refused_total";
const SETTLED: &str = "settled_total";
const UNACKNOWLEDGED: &str = "unacknowledged_total";
const QUORUM_LOST: &str = "quorum_lost";
const LOG_HELD: &str = "log_held";

const fn subscriber_gauges(received: u64, processed: u64, missing: u64) -> [Metric; 3] {
    [
        ("acked_received", "the first message that a subscriber has not received", received),
        ("acked_processed", "the first message that a subscriber has not processed", processed),
        ("acked_missing", "messages published after those that a subscriber has received", missing),
    ]
}

fn export(prefix: &str, figures: impl Iterator<Item = Figure>, round_trip: Duration, labels: &[Label]) {
    for Figure { name, value, .. } in figures {
        let labels = labels.to_vec();
        match value {
            FigureValue::Count(count) => counter!(format!("{prefix}{name}_total"), labels).absolute(count),
            FigureValue::Level(level) => gauge!(format!("{prefix}{name}"), labels).set(level as f64),
            FigureValue::Time(time) => {
                gauge!(format!("{prefix}{name}_seconds"), labels).set(time.as_secs_f64());
            }
        }
    }
    let sample = format!("{prefix}round_trip_sample_seconds");
    histogram!(sample, labels.to_vec()).record(round_trip.as_secs_f64());
}

fn labels(stream: u64, (groups, interfaces): (String, String)) -> Vec<Label> {
    vec![stream_label(stream), Label::new("group", groups), Label::new("interface", interfaces)]
}

fn stream_label(stream: u64) -> Label {
    Label::new("stream", format!("{stream:016x}"))
}

#[cfg(feature = "history")]
const fn history_counters(statistics: &HistoryServerStatistics) -> [Metric; 5] {
    [
        ("requests_total", "requests received", statistics.requests),
        ("records_total", "records sent", statistics.records),
        ("bytes_total", "bytes sent", statistics.bytes),
        ("postponed_total", "requests postponed because others were served first", statistics.postponed),
        ("refused_total", "requests refused", statistics.refused),
    ]
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use ::metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
        SharedString,
    };
    use mcast_lab::Lab;

    use super::*;
    use crate::log::LogOptions;
    use crate::publisher::{Acknowledgers, Quorum};
    use crate::seal::Keys;
    use crate::wire::StreamId;
    use crate::{HistoryListener, HistoryProvider, HistorySource, HistoryUnavailable};

    /// A recorder that keeps the last value by name and labels, and the names that were described.
    #[derive(Default, Clone)]
    struct TestRecorder {
        values: Arc<Mutex<BTreeMap<String, f64>>>,
        described: Arc<Mutex<Vec<String>>>,
    }

    struct Metric(TestRecorder, String);

    impl Metric {
        fn note(&self, value: f64) {
            self.0.values.lock().unwrap().insert(self.1.clone(), value);
        }
    }

    impl CounterFn for Metric {
        fn increment(&self, _: u64) {
            unreachable!("counters are exported as absolute values");
        }
        fn absolute(&self, value: u64) {
            self.note(value as f64);
        }
    }

    impl GaugeFn for Metric {
        fn increment(&self, _: f64) {
            unreachable!("gauges are exported as absolute values");
        }
        fn decrement(&self, _: f64) {
            unreachable!("gauges are exported as absolute values");
        }
        fn set(&self, value: f64) {
            self.note(value);
        }
    }

    impl HistogramFn for Metric {
        fn record(&self, value: f64) {
            self.note(value);
        }
    }

    impl TestRecorder {
        fn metric(&self, key: &Key) -> Arc<Metric> {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Metric(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
        }

        fn describe(&self, name: &KeyName) {
            self.described.lock().unwrap().push(name.as_str().to_owned());
        }
    }

    impl Recorder for TestRecorder {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.describe(&name);
        }
        fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.describe(&name);
        }
        fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.describe(&name);
        }
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.metric(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.metric(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.metric(key))
        }
    }

    struct Nothing;

    impl HistoryProvider for Nothing {
        fn open(&self, _: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
            Err(HistoryUnavailable::OtherStream)
        }
    }

    fn publish_three(recorder: &TestRecorder) {
        let quorum = Quorum::new(Acknowledgers::Count(1));
        let builder = Publisher::builder().to("239.7.7.7%lo:7000".parse().unwrap()).acknowledge(quorum);
        let publisher = builder.rate(1 << 30).build().unwrap();
        let builder = Subscriber::builder().join("239.7.7.7%lo:7000".parse().unwrap());
        let mut subscriber = builder.name("db".parse().unwrap()).build().unwrap();
        ::metrics::with_local_recorder(recorder, || subscriber.export_metrics());
        assert!(recorder.values.lock().unwrap().is_empty(), "no stream was received yet");
        while publisher.statistics().subscribers == 0 {
            let _ = subscriber.next_timeout(Duration::from_millis(1)).unwrap();
        }
        // Publishing waits for the quorum.
        let mut published = 0;
        while published < 3 || subscriber.statistics().messages < 3 {
            let _ = subscriber.next_timeout(Duration::from_millis(1)).unwrap();
            published += usize::from(published < 3 && publisher.try_publish(b"four").is_ok());
        }
        ::metrics::with_local_recorder(recorder, || {
            describe();
            publisher.export_metrics();
            subscriber.export_metrics();
            let listener = HistoryListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let served = listener.serve(publisher.stream(), Keys::none(), Box::new(Nothing));
            served.unwrap().export_metrics();
            let folder = tempfile::tempdir().unwrap();
            let builder = Publisher::builder().to("239.7.7.7%lo:7001".parse().unwrap()).stream(StreamId(7));
            builder.log(folder.path(), LogOptions::default()).build().unwrap().export_metrics();
        });
        let labels = format!("stream={:016x} group=239.7.7.7:7000 interface=lo", publisher.stream().0);
        let values = recorder.values.lock().unwrap();
        let of = |name: &str| values.get(&format!("{name} {labels}")).copied();
        let logged = "stream=0000000000000007 group=239.7.7.7:7001 interface=lo";
        assert_eq!(values.get(&format!("mcast_stream_publisher_log_held {logged}")), Some(&0.0));
        assert_eq!(of("mcast_stream_publisher_messages_total"), Some(3.0), "{values:?}");
        assert_eq!(of("mcast_stream_publisher_message_bytes_total"), Some(12.0));
        assert_eq!(of("mcast_stream_publisher_subscribers"), Some(1.0));
        for counter in ["echoes_refused_total", "not_sent_total", "internal_errors_total"] {
            assert_eq!(of(&format!("mcast_stream_publisher_{counter}")), Some(0.0), "{counter}");
        }
        assert_eq!(of("mcast_stream_subscriber_messages_total"), Some(3.0));
        assert_eq!(of("mcast_stream_subscriber_lost_messages_total"), Some(0.0));
        assert!(of("mcast_stream_subscriber_round_trip_sample_seconds").is_some_and(|time| time > 0.0));
    }

    #[test]
    fn every_described_metric_is_exported() {
        let recorder = TestRecorder::default();
        let lab = Lab::new().unwrap();
        lab.host("alone").unwrap().run(|| publish_three(&recorder)).unwrap();
        let exported: Vec<_> = recorder.values.lock().unwrap().keys().cloned().collect();
        let mut names: Vec<_> = exported.iter().filter_map(|line| line.split(' ').next()).collect();
        let mut described = recorder.described.lock().unwrap();
        // Only with an automatic rate, once a path was measured, and with a server of snapshots.
        let is_special =
            |name: &str| name == "mcast_stream_publisher_queueing_seconds" || name == SNAPSHOTS_REFUSED;
        described.retain(|name| !is_special(name));
        names.sort_unstable();
        // Both publishers export most of them.
        names.dedup();
        described.sort_unstable();
        assert_eq!(names, *described);
    }
}
