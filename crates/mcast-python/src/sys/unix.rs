//! Unix: a receiver is one descriptor.

use std::os::fd::{AsFd, AsRawFd};

use pyo3::prelude::*;

pub(crate) fn descriptor(receiver: &mcast::Receiver) -> PyResult<i64> {
    Ok(receiver.as_fd().as_raw_fd().into())
}
