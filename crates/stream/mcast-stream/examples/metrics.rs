//! Publishes, and prints the metrics that a recorder receives: `metrics GROUP:PORT`, for instance
//! `metrics 239.255.2.3%eth0:7000`.
//!
//! The recorder here prints. To serve Prometheus, install the recorder of `metrics-exporter-prometheus` instead.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mcast_stream::Publisher;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

struct Printer;

struct Metric(Key);

impl CounterFn for Metric {
    fn increment(&self, value: u64) {
        println!("{} +{value}", self.0);
    }

    fn absolute(&self, value: u64) {
        println!("{} {value}", self.0);
    }
}

impl GaugeFn for Metric {
    fn increment(&self, value: f64) {
        println!("{} +{value}", self.0);
    }

    fn decrement(&self, value: f64) {
        println!("{} -{value}", self.0);
    }

    fn set(&self, value: f64) {
        println!("{} {value}", self.0);
    }
}

impl HistogramFn for Metric {
    fn record(&self, value: f64) {
        println!("{} {value}", self.0);
    }
}

impl Recorder for Printer {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Metric(key.clone())))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Metric(key.clone())))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Metric(key.clone())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let group = std::env::args().nth(1).ok_or("usage: metrics GROUP:PORT")?;
    metrics::set_global_recorder(Printer).map_err(|_| "a recorder is installed already")?;
    let publisher = Publisher::to(group.parse()?)?;
    for second in 0..3_u32 {
        publisher.publish(format!("second {second}").as_bytes())?;
        publisher.export_metrics();
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
