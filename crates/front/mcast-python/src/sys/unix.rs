//! Unix: a receiver has one descriptor, a subscriber two.

use std::os::fd::{AsFd, AsRawFd};

use pyo3::prelude::*;

pub(crate) fn receiver_descriptor(receiver: &mcast::Receiver) -> PyResult<i64> {
    Ok(receiver.as_fd().as_raw_fd().into())
}

pub(crate) fn capture_descriptor(capture: &mcast_capture::Capture) -> PyResult<i64> {
    Ok(capture.as_fd().as_raw_fd().into())
}

pub(crate) fn subscriber_descriptors(subscriber: &mcast_stream::Subscriber) -> PyResult<Vec<i64>> {
    Ok(subscriber.descriptors().iter().map(|each| each.as_raw_fd().into()).collect())
}
