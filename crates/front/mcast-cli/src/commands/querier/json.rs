//! Events and queriers as JSON.

use std::net::IpAddr;
use std::time::SystemTime;

use mcast::BridgeQuerier;
use mcast_watch::live::{CapturedQuery, QuerierInterface};
use mcast_watch::{ObservedQuerier, ObservedQuery};
use serde::Serialize;

use crate::output::rfc3339;

/// An event as JSON: `schemas/querier-event.json`. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Event {
    pub(super) event: &'static str,
    pub(super) time: String,
    pub(super) interface: String,
    pub(super) protocol: String,
    pub(super) address: Option<IpAddr>,
    pub(super) version: Option<u8>,
    pub(super) group: Option<IpAddr>,
    pub(super) queries: Option<u64>,
    pub(super) interval_seconds: Option<f64>,
    pub(super) observed_interval_seconds: Option<f64>,
    pub(super) robustness: Option<u8>,
    pub(super) max_response_seconds: Option<f64>,
    pub(super) expires_seconds: Option<f64>,
}

impl Event {
    pub(super) fn new(event: &'static str, target: &QuerierInterface) -> Self {
        Self {
            event,
            time: rfc3339(SystemTime::now()),
            interface: target.name.clone(),
            protocol: target.protocol().to_ascii_lowercase(),
            ..Self::default()
        }
    }

    /// Creates the event of a received query.
    pub(super) fn query(captured: &CapturedQuery<'_>) -> Self {
        let CapturedQuery { target, query, time, .. } = captured;
        Self { time: rfc3339(*time), ..Self::new("query-received", target).with_query(query) }
    }

    /// Creates the event of a querier that a bridge knows.
    pub(super) fn of_bridge(target: &QuerierInterface, querier: &BridgeQuerier) -> Self {
        Self {
            address: Some(querier.address),
            expires_seconds: querier.expires.map(|expires| expires.as_secs_f64()),
            ..Self::new("bridge", target)
        }
    }

    /// Creates the event of a known querier.
    pub(super) fn known(target: &QuerierInterface, known: &ObservedQuerier) -> Self {
        Self {
            queries: Some(known.queries),
            observed_interval_seconds: known.mean_interval.map(|interval| interval.as_secs_f64()),
            expires_seconds: Some(known.expires.as_secs_f64()),
            ..Self::new("querier", target).with_query(&known.query)
        }
    }

    fn with_query(self, query: &ObservedQuery) -> Self {
        Self {
            address: Some(query.source),
            version: Some(query.version),
            group: query.group,
            interval_seconds: query.interval.map(|interval| interval.as_secs_f64()),
            robustness: query.robustness,
            max_response_seconds: Some(query.max_response_time.as_secs_f64()),
            ..self
        }
    }
}
