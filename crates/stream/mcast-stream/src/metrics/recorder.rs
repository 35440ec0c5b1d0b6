//! Passing metrics to the recorder of the program.

use std::time::Duration;

use ::metrics::{
    Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::{Exposition, MetricFamily, MetricKind, MetricValue, PUBLISHER, SUBSCRIBER};
#[cfg(feature = "history")]
use crate::SnapshotServer;
use crate::{Publisher, Subscriber};

impl Publisher {
    /// Passes the present counters to the recorder of the program (see [`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        pass(|metrics| self.add_metrics(metrics));
        pass_round_trip(PUBLISHER, self.statistics().round_trip, self.stream().0, self.labels());
    }
}

#[cfg(feature = "log")]
impl crate::LoggedPublisher {
    /// Passes the present counters of the publisher, and whether its log is held, to the recorder of the program (see
    /// [`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        let publisher = crate::Publish::publisher(self);
        pass(|metrics| self.add_metrics(metrics));
        let round_trip = publisher.statistics().round_trip;
        pass_round_trip(PUBLISHER, round_trip, publisher.stream().0, publisher.labels());
    }
}

impl Subscriber {
    /// Passes the present counters to the recorder of the program (see [`metrics`](crate::metrics)). Does nothing
    /// before the first datagram of the stream.
    pub fn export_metrics(&self) {
        let Some(stream) = self.stream() else { return };
        pass(|metrics| self.add_metrics(metrics));
        pass_round_trip(SUBSCRIBER, self.statistics().round_trip, stream.0, self.labels());
    }
}

#[cfg(feature = "history")]
impl crate::HistoryServer {
    /// Passes the present counters to the recorder of the program (see [`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        pass(|metrics| self.add_metrics(metrics));
    }
}

#[cfg(feature = "history")]
impl SnapshotServer {
    /// Passes the present counters to the recorder of the program (see [`metrics`](crate::metrics)).
    pub fn export_metrics(&self) {
        pass(|metrics| self.add_metrics(metrics));
    }
}

/// Passes what `add` adds, with descriptions.
fn pass(add: impl FnOnce(&mut Exposition)) {
    let mut metrics = Exposition::default();
    add(&mut metrics);
    metrics.families().for_each(pass_family);
}

fn pass_family(family: &MetricFamily) {
    let (name, help) = (family.name().to_owned(), family.help().to_owned());
    match family.kind() {
        MetricKind::Counter => describe_counter!(name, help),
        MetricKind::Gauge if name.ends_with("_seconds") => describe_gauge!(name, Unit::Seconds, help),
        MetricKind::Gauge => describe_gauge!(name, help),
    }
    for sample in family.samples() {
        let name = family.name().to_owned();
        let labels: Vec<Label> =
            sample.labels().map(|(label, text)| Label::new(label.to_owned(), text.to_owned())).collect();
        match (family.kind(), sample.value()) {
            // A counter of a recorder is a whole number.
            (MetricKind::Counter, MetricValue::Whole(count)) => counter!(name, labels).absolute(count),
            (_, value) => gauge!(name, labels).set(value.as_f64()),
        }
    }
}

/// The text format of Prometheus has the latest round-trip time only; a recorder can keep all of them.
fn pass_round_trip(prefix: &str, round_trip: Duration, stream: u64, (groups, interfaces): (String, String)) {
    let name = format!("{prefix}round_trip_sample_seconds");
    describe_histogram!(name.clone(), Unit::Seconds, "The round-trip time at each export.");
    let labels = vec![
        Label::new("stream", format!("{stream:016x}")),
        Label::new("group", groups),
        Label::new("interface", interfaces),
    ];
    histogram!(name, labels).record(round_trip.as_secs_f64());
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
    fn every_metric_is_exported_with_its_description() {
        let recorder = TestRecorder::default();
        let lab = Lab::new().unwrap();
        lab.host("alone").unwrap().run(|| publish_three(&recorder)).unwrap();
        let exported: Vec<_> = recorder.values.lock().unwrap().keys().cloned().collect();
        let mut names: Vec<_> = exported.iter().filter_map(|line| line.split(' ').next()).collect();
        let mut described = recorder.described.lock().unwrap();
        names.sort_unstable();
        // Both publishers export most of them.
        names.dedup();
        described.sort_unstable();
        described.dedup();
        assert_eq!(names, *described);
    }
}
