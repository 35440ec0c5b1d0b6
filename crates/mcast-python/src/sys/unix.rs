//! Unix: a receiver is one descriptor, a subscriber two.

use std::os::fd::{AsFd, AsRawFd};

use pyo3::prelude::*;

pub(crate) fn descriptor(receiver: &mcast::Receiver) -> PyResult<i64> {
    Ok(receiver.as_fd().as_raw_fd().into())
}

pub(crate) fn capturing(capture: &mcast_capture::Capture) -> PyResult<i64> {
    Ok(capture.as_fd().as_raw_fd().into())
}

pub(crate) fn descriptors(subscriber: &mcast_stream::Subscriber) -> PyResult<Vec<i64>> {
    Ok(subscriber.descriptors().iter().map(|each| each.as_raw_fd().into()).collect())
}
