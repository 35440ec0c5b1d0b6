//! Statistics for a program's recorder, by the [`metrics`](https://docs.rs/metrics) facade (feature `metrics`).
//!
//! [`Publisher::export_metrics`] and [`Subscriber::export_metrics`] tell the recorder that is installed what was counted
//! so far. Nothing is told by itself, and no datagram costs anything for it: call them as often as the figures are
//! wanted, say every second. Without a recorder they do nothing.
//!
//! Each name begins with `mcast_stream_publisher_` or `mcast_stream_subscriber_`, and has the labels `stream` (16
//! hexadecimal digits), `group` (`239.1.2.3:7000`; several, with commas) and `interface` (as it was named; empty where the
//! system chose). What ends with `_total` is a counter, `round_trip_seconds` a gauge and, as `round_trip_sample_seconds`, a histogram with one
//! sample an export; all else is a gauge. [`describe`] gives the recorder a sentence for each, and these are they:
//!
//! | publisher | |
//! |---|---|
//! | `messages_total`, `message_bytes_total` | messages that were published |
//! | `datagrams_total`, `datagram_bytes_total` | data that was sent, repairs not counted |
//! | `group_repairs_total`, `single_repairs_total`, `repair_bytes_total` | data that was sent again, to the group and to one receiver |
//! | `naks_total`, `naks_refused_total`, `unrecoverable_total` | requests for repairs, those not answered, and what was asked for when it was gone |
//! | `statuses_total`, `heartbeats_total` | what receivers and the publisher said of themselves |
//! | `foreign_total`, `refused_total` | what came from others, or from outside the group |
//! | `receivers`, `round_trip_seconds` | receivers that are known, the group round-trip time |
//!
//! | subscriber | |
//! |---|---|
//! | `messages_total`, `message_bytes_total`, `lost_messages_total` | messages that were handed out, and told to be lost |
//! | `received_total`, `repaired_total`, `copies_total`, `missed_total`, `given_up_total`, `beyond_total` | datagrams of data |
//! | `foreign_total`, `malformed_total`, `refused_total` | what was none of the stream, or could not be read, or was not sealed by the group |
//! | `naks_total`, `statuses_total` | what was asked and told |
//! | `waiting`, `round_trip_seconds` | datagrams that wait for others, the group round-trip time |
//!
//! For Prometheus, install the recorder of the crate `metrics-exporter-prometheus`, which also serves the figures over HTTP,
//! before the first export:
//!
//! ```ignore
//! metrics_exporter_prometheus::PrometheusBuilder::new().with_http_listener(([127, 0, 0, 1], 9000)).install()?;
//! mcast_stream::metrics::describe();
//! loop {
//!     publisher.export_metrics();
//!     std::thread::sleep(std::time::Duration::from_secs(1));
//! }
//! ```

use ::metrics::{
    Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::{Publisher, Subscriber};

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// A name, what it means, and what it is now.
type Figure = (&'static str, &'static str, u64);

/// Gives the recorder a description of every figure. Once is enough.
pub fn describe() {
    let publisher = (PUBLISHER, publisher_counters(&Default::default()));
    let subscriber = (SUBSCRIBER, subscriber_counters(&Default::default()));
    for (prefix, figures) in [(publisher.0, &publisher.1[..]), (subscriber.0, &subscriber.1[..])] {
        for (name, meaning, _) in figures {
            describe_counter!(format!("{prefix}{name}"), *meaning);
        }
        describe_gauge!(format!("{prefix}round_trip_seconds"), Unit::Seconds, "the group round-trip time");
        let sample = format!("{prefix}round_trip_sample_seconds");
        describe_histogram!(sample, Unit::Seconds, "the group round-trip time at each export");
    }
    describe_gauge!(format!("{PUBLISHER}receivers"), "receivers that are known");
    describe_gauge!(format!("{SUBSCRIBER}waiting"), "datagrams that wait for others");
}

impl Publisher {
    /// Tells the recorder of the program what was sent so far ([`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        let statistics = self.statistics();
        let labels = labels(self.stream().0, self.labels());
        export(PUBLISHER, &publisher_counters(&statistics), statistics.round_trip, &labels);
        gauge!(format!("{PUBLISHER}receivers"), labels).set(statistics.receivers as f64);
    }
}

impl Subscriber {
    /// Tells the recorder of the program what was received so far ([`metrics`](crate::metrics)). Of nothing before the stream is
    /// heard.
    pub fn export_metrics(&self) {
        let Some(stream) = self.stream() else { return };
        let statistics = self.statistics();
        let labels = labels(stream.0, self.labels());
        export(SUBSCRIBER, &subscriber_counters(&statistics), statistics.round_trip, &labels);
        gauge!(format!("{SUBSCRIBER}waiting"), labels).set(statistics.waiting as f64);
    }
}

const PUBLISHER: &str = "mcast_stream_publisher_";
const SUBSCRIBER: &str = "mcast_stream_subscriber_";

fn export(prefix: &str, counters: &[Figure], round_trip: u64, labels: &[Label]) {
    for (name, _, value) in counters {
        counter!(format!("{prefix}{name}"), labels.to_vec()).absolute(*value);
    }
    let round_trip = round_trip as f64 / SECOND;
    gauge!(format!("{prefix}round_trip_seconds"), labels.to_vec()).set(round_trip);
    histogram!(format!("{prefix}round_trip_sample_seconds"), labels.to_vec()).record(round_trip);
}

fn labels(stream: u64, (groups, interfaces): (String, String)) -> Vec<Label> {
    let stream = Label::new("stream", format!("{stream:016x}"));
    vec![stream, Label::new("group", groups), Label::new("interface", interfaces)]
}

const fn publisher_counters(told: &crate::sender::SenderStatistics) -> [Figure; 14] {
    [
        ("messages_total", "messages that were published", told.messages),
        ("message_bytes_total", "their bytes", told.message_bytes),
        ("datagrams_total", "datagrams of data, repairs not counted", told.datagrams),
        ("datagram_bytes_total", "their bytes", told.datagram_bytes),
        ("group_repairs_total", "datagrams that were sent again, to the group", told.group_repairs),
        ("single_repairs_total", "datagrams that were sent again, to one receiver", told.single_repairs),
        ("repair_bytes_total", "bytes of both", told.repair_bytes),
        ("naks_total", "requests for repairs", told.naks),
        ("naks_refused_total", "requests for repairs that were not answered", told.naks_refused),
        ("unrecoverable_total", "datagrams that were asked for when they were gone", told.unrecoverable),
        ("statuses_total", "what receivers told of themselves", told.statuses),
        ("heartbeats_total", "what the publisher told of itself", told.heartbeats),
        ("foreign_total", "what came and was not for this stream", told.foreign),
        ("refused_total", "what came and was not sealed by the group, or a copy", told.refused),
    ]
}

const fn subscriber_counters(told: &crate::receiver::ReceiverStatistics) -> [Figure; 14] {
    [
        ("messages_total", "messages that were handed out", told.messages),
        ("message_bytes_total", "their bytes", told.message_bytes),
        ("lost_messages_total", "messages that were told to be lost", told.lost_messages),
        ("received_total", "datagrams of data, copies not counted", told.received),
        ("repaired_total", "of those, repairs", told.repaired),
        ("copies_total", "datagrams that had come before", told.copies),
        ("missed_total", "datagrams that were missing when one behind them came", told.missed),
        ("given_up_total", "datagrams that were given up", told.given_up),
        ("beyond_total", "datagrams beyond the window, which come again", told.beyond),
        ("foreign_total", "what came and was of no stream, or another", told.foreign),
        ("malformed_total", "what could not be read", told.malformed),
        ("refused_total", "what the group did not seal, or a copy", told.refused),
        ("naks_total", "requests for repairs", told.naks),
        ("statuses_total", "what was told of itself", told.statuses),
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

    /// What was told last, by name and labels; and what was described.
    #[derive(Default, Clone)]
    struct Book {
        told: Arc<Mutex<BTreeMap<String, f64>>>,
        described: Arc<Mutex<Vec<String>>>,
    }

    struct Line(Book, String);

    impl Line {
        fn note(&self, value: f64) {
            self.0.told.lock().unwrap().insert(self.1.clone(), value);
        }
    }

    impl CounterFn for Line {
        fn increment(&self, _: u64) {
            unreachable!("counters are told as they stand");
        }
        fn absolute(&self, value: u64) {
            self.note(value as f64);
        }
    }

    impl GaugeFn for Line {
        fn increment(&self, _: f64) {
            unreachable!("gauges are told as they stand");
        }
        fn decrement(&self, _: f64) {
            unreachable!("gauges are told as they stand");
        }
        fn set(&self, value: f64) {
            self.note(value);
        }
    }

    impl HistogramFn for Line {
        fn record(&self, value: f64) {
            self.note(value);
        }
    }

    impl Book {
        fn line(&self, key: &Key) -> Arc<Line> {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Line(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
        }

        fn describe(&self, name: &KeyName) {
            self.described.lock().unwrap().push(name.as_str().to_owned());
        }
    }

    impl Recorder for Book {
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
            Counter::from_arc(self.line(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.line(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.line(key))
        }
    }

    fn publish_three(book: &Book) {
        let publisher = Publisher::to("239.7.7.7%lo:7000".parse().unwrap()).unwrap();
        let mut subscriber = Subscriber::join_one("239.7.7.7%lo:7000".parse().unwrap()).unwrap();
        ::metrics::with_local_recorder(book, || subscriber.export_metrics());
        assert!(book.told.lock().unwrap().is_empty(), "no stream was heard yet");
        while publisher.statistics().receivers == 0 {
            let _ = subscriber.next_timeout(Duration::from_millis(1)).unwrap();
        }
        (0..3).for_each(|_| _ = publisher.publish(b"four").unwrap());
        while subscriber.statistics().messages < 3 {
            let _ = subscriber.next_timeout(Duration::from_secs(1)).unwrap();
        }
        ::metrics::with_local_recorder(book, || {
            describe();
            publisher.export_metrics();
            subscriber.export_metrics();
        });
        let labels = format!("stream={:016x} group=239.7.7.7:7000 interface=lo", publisher.stream().0);
        let told = book.told.lock().unwrap();
        let of = |name: &str| told.get(&format!("{name} {labels}")).copied();
        assert_eq!(of("mcast_stream_publisher_messages_total"), Some(3.0), "{told:?}");
        assert_eq!(of("mcast_stream_publisher_message_bytes_total"), Some(12.0));
        assert_eq!(of("mcast_stream_publisher_receivers"), Some(1.0));
        assert_eq!(of("mcast_stream_subscriber_messages_total"), Some(3.0));
        assert_eq!(of("mcast_stream_subscriber_lost_messages_total"), Some(0.0));
        assert!(of("mcast_stream_subscriber_round_trip_sample_seconds").is_some_and(|time| time > 0.0));
    }

    #[test]
    fn a_recorder_is_told_every_figure_that_is_described() {
        let book = Book::default();
        let lab = Lab::new().unwrap();
        lab.host("alone").unwrap().run(|| publish_three(&book)).unwrap();
        let told: Vec<_> = book.told.lock().unwrap().keys().cloned().collect();
        let mut names: Vec<_> = told.iter().filter_map(|line| line.split(' ').next()).collect();
        let mut described = book.described.lock().unwrap();
        names.sort_unstable();
        described.sort_unstable();
        assert_eq!(names, *described);
    }
}
