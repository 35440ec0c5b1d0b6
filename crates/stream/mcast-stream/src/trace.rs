//! Events of publishers and subscribers for the feature `tracing`: those that applications can fetch, fetched or not.

use mcast_metrics::EventSeverity;
use mcast_sys::trace::{Described, Span};
use mcast_sys::trace_event;

use crate::PathChange;
use crate::publisher::PublisherEvent;
use crate::subscriber::SubscriberEvent;

/// Records an event of a subscriber.
pub(crate) fn subscriber_event(span: &Span, event: &SubscriberEvent) {
    let (name, details) = (event.name(), Described(event));
    match event.severity() {
        _ if matches!(event, SubscriberEvent::InternalError(_)) => {
            trace_event!(span, ERROR, name, details = details);
        }
        EventSeverity::Problem => trace_event!(span, WARN, name, details = details),
        _ => trace_event!(span, INFO, name, details = details),
    }
}

/// Records an event of a publisher.
pub(crate) fn publisher_event(span: &Span, event: &PublisherEvent) {
    let details = Described(event);
    match event.severity() {
        _ if matches!(event, PublisherEvent::InternalError(_)) => {
            trace_event!(span, ERROR, "event", details = details);
        }
        EventSeverity::Problem => trace_event!(span, WARN, "event", details = details),
        _ => trace_event!(span, INFO, "event", details = details),
    }
}

/// Records that a path of a publisher, or a host, can be sent to, or no longer.
pub(crate) fn path_change(span: &Span, change: &PathChange) {
    match change {
        PathChange::Down { path, error } => {
            trace_event!(span, WARN, "path down", path = path, error = error);
        }
        PathChange::Up { path } => trace_event!(span, INFO, "path up", path = path),
        PathChange::QueueFull { path, error } => {
            trace_event!(span, WARN, "queue full", path = path, error = error);
        }
        PathChange::HostUnreachable { host, error } => {
            let why =
                error.as_ref().map_or_else(|| "reported by the network".to_owned(), ToString::to_string);
            trace_event!(span, WARN, "host unreachable", host = host, error = why);
        }
        PathChange::HostReachable { host } => trace_event!(span, INFO, "host reachable", host = host),
    }
}
