//! What streams have done, as metrics: [`Exposition`] has the text format of Prometheus, and the feature `metrics` passes
//! the same to the recorder of the program.
//!
//! [`Publisher::add_metrics`], [`LoggedPublisher::add_metrics`](crate::LoggedPublisher::add_metrics), [`Subscriber::add_metrics`],
//! [`HistoryServer::add_metrics`](crate::HistoryServer::add_metrics) and [`SnapshotServer::add_metrics`](crate::SnapshotServer::add_metrics) add the present counters.
//! They are not called automatically, so datagrams cost nothing extra: call them on request or at intervals, for example
//! every second.
//!
//! Each name begins with `mcast_stream_publisher_`, `mcast_stream_subscriber_`, `mcast_stream_history_` or `mcast_stream_snapshot_`, and has the label
//! `stream` (16 hexadecimal digits). Those of publishers and subscribers also have the labels `group` (`239.255.2.3:7000`; several are separated by commas) and `interface` (the name that was
//! given; empty if the system chose).
//!
//! Each number of [`PublisherStatistics`](crate::publisher::PublisherStatistics),
//! [`SubscriberStatistics`](crate::subscriber::SubscriberStatistics) and, for a history server,
//! [`HistoryServerStatistics`](crate::HistoryServerStatistics) is exported under its own name: a number that only grows is a
//! counter, with `_total` behind its name, a time is a gauge, with `_seconds`, and everything else is a gauge. In addition:
//!
//! | publisher | |
//! |---|---|
//! | `rate_bytes_per_second`, `queueing_seconds` | the present rate, if it is limited, and the queueing delay on the path that limits an [automatic](crate::PublisherBuilder::auto_rate) one |
//! | `settled_total`, `unacknowledged_total`, `quorum_lost` | with [`acknowledge`](crate::PublisherBuilder::acknowledge): messages acknowledged as required or given up, messages given up, and 1 if messages cannot be acknowledged at present |
//! | `log_held` | with a [log](crate::LoggedPublisher::add_metrics): 1 if it is larger or older than it must be, because messages in it were not sent, acknowledged or received |
//! | `acked_received`, `acked_processed`, `acked_missing` | the same, for each present subscriber with a name, which is the label `subscriber`: the first message that it has not received, the first that it has not processed, and the number of messages after those that it has received |
//!
//! | snapshot server | |
//! |---|---|
//! | `refused_total` | requests that were refused |
//!
//! # Recorders
//!
//! With the feature `metrics`, `export_metrics` of the same types passes them, with their descriptions, through the
//! [`metrics`](https://docs.rs/metrics) facade to the installed recorder; without a recorder it does nothing. Those of publishers and subscribers
//! also pass the histogram `round_trip_sample_seconds`: the round-trip time, with one sample per export. For Prometheus, install the recorder of the crate
//! `metrics-exporter-prometheus`, which also serves the metrics over HTTP, before the first export:
//!
//! ```ignore
//! metrics_exporter_prometheus::PrometheusBuilder::new().with_http_listener(([127, 0, 0, 1], 9000)).install()?;
//! loop {
//!     publisher.export_metrics();
//!     std::thread::sleep(std::time::Duration::from_secs(1));
//! }
//! ```

#[cfg(feature = "metrics")]
mod recorder;

use std::fmt::Display;

pub use mcast_metrics::{Exposition, MetricFamily, MetricKind, MetricSample, MetricValue};

#[cfg(feature = "history")]
use crate::SnapshotServer;
#[cfg(feature = "acknowledgements")]
use crate::publisher::{AckProgress, SubscriberPresence, Watermarks};
use crate::{Publisher, Subscriber};

/// Names and values of labels.
type Labels<'a> = [(&'a str, &'a dyn Display)];

impl Publisher {
    /// Adds the present counters (see [`metrics`](crate::metrics)).
    pub fn add_metrics(&self, metrics: &mut Exposition) {
        let (stream, (groups, interfaces)) = (self.stream(), self.labels());
        self.add_labelled(metrics, &[("stream", &stream), ("group", &groups), ("interface", &interfaces)]);
    }

    fn add_labelled(&self, metrics: &mut Exposition, labels: &Labels<'_>) {
        let statistics = self.statistics();
        metrics.add_figures(PUBLISHER, labels, statistics.figures());
        if let Some(rate) = statistics.rate {
            gauge(metrics, "rate_bytes_per_second", "The present rate.").sample(labels, rate);
        }
        if statistics.limiting.is_some() {
            gauge(
                metrics,
                "queueing_seconds",
                "The queueing delay on the path that limits an automatic rate.",
            )
            .sample(labels, statistics.queueing.as_secs_f64());
        }
        #[cfg(feature = "acknowledgements")]
        if let Some(progress) = self.ack_progress() {
            add_acks(metrics, labels, &progress);
            self.add_watermarks(metrics, labels);
        }
    }

    /// Adds what the present subscribers that have a name have acknowledged. Others have no label that stays the same.
    #[cfg(feature = "acknowledgements")]
    fn add_watermarks(&self, metrics: &mut Exposition, labels: &Labels<'_>) {
        for watermarks in self.watermarks().iter().filter(|each| each.presence == SubscriberPresence::Present)
        {
            let Some(name) = watermarks.name else { continue };
            let labels = [labels, &[("subscriber", &name)]].concat();
            let Watermarks { received, processed, missing, .. } = *watermarks;
            gauge(metrics, "acked_received", "The first message that a subscriber has not received.")
                .sample(&labels, received.0);
            gauge(metrics, "acked_processed", "The first message that a subscriber has not processed.")
                .sample(&labels, processed.0);
            gauge(metrics, "acked_missing", "Messages published after those that a subscriber has received.")
                .sample(&labels, missing);
        }
    }
}

#[cfg(feature = "log")]
impl crate::LoggedPublisher {
    /// Adds the present counters of the publisher, and whether its log is held (see [`metrics`](crate::metrics)).
    pub fn add_metrics(&self, metrics: &mut Exposition) {
        let publisher = crate::Publish::publisher(self);
        let (stream, (groups, interfaces)) = (publisher.stream(), publisher.labels());
        let labels: [(&str, &dyn Display); 3] =
            [("stream", &stream), ("group", &groups), ("interface", &interfaces)];
        publisher.add_labelled(metrics, &labels);
        let help =
            "1 if the log exceeds its limits because messages in it were not sent, acknowledged or received.";
        gauge(metrics, "log_held", help).sample(&labels, u8::from(self.hold().is_some()));
    }
}

impl Subscriber {
    /// Adds the present counters (see [`metrics`](crate::metrics)). Does nothing before the first datagram of the stream.
    pub fn add_metrics(&self, metrics: &mut Exposition) {
        let Some(stream) = self.stream() else { return };
        let (groups, interfaces) = self.labels();
        let labels: [(&str, &dyn Display); 3] =
            [("stream", &stream), ("group", &groups), ("interface", &interfaces)];
        metrics.add_figures(SUBSCRIBER, &labels, self.statistics().figures());
    }
}

#[cfg(feature = "history")]
impl crate::HistoryServer {
    /// Adds the present counters (see [`metrics`](crate::metrics)).
    pub fn add_metrics(&self, metrics: &mut Exposition) {
        let stream = self.stream();
        metrics.add_figures("mcast_stream_history_", &[("stream", &stream)], self.statistics().figures());
    }
}

#[cfg(feature = "history")]
impl SnapshotServer {
    /// Adds the present counters (see [`metrics`](crate::metrics)).
    pub fn add_metrics(&self, metrics: &mut Exposition) {
        let (name, help) =
            ("mcast_stream_snapshot_refused_total", "Requests for a snapshot that were refused.");
        metrics.family(name, MetricKind::Counter, help).sample(&[("stream", &self.stream())], self.refused());
    }
}

const PUBLISHER: &str = "mcast_stream_publisher_";
const SUBSCRIBER: &str = "mcast_stream_subscriber_";

#[cfg(feature = "acknowledgements")]
fn add_acks(metrics: &mut Exposition, labels: &Labels<'_>, progress: &AckProgress) {
    let mut counter = |name: &str, help, value: u64| {
        metrics.family(&[PUBLISHER, name].concat(), MetricKind::Counter, help).sample(labels, value);
    };
    counter("settled_total", "Messages acknowledged as required, or given up.", progress.settled.0);
    counter("unacknowledged_total", "Messages given up.", progress.unacknowledged);
    gauge(metrics, "quorum_lost", "1 if messages cannot be acknowledged as required.")
        .sample(labels, u8::from(progress.is_lost));
}

/// Returns a gauge of publishers.
fn gauge<'a>(metrics: &'a mut Exposition, name: &str, help: &str) -> &'a mut MetricFamily {
    metrics.family(&[PUBLISHER, name].concat(), MetricKind::Gauge, help)
}
