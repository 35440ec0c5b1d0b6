//! Live capture of frames, and capture files.

mod control;
mod file;
mod live;
mod packet;

use std::error::Error as _;
use std::io;

use mcast_capture::{Error, ErrorKind, FileError, FileErrorKind};
use pyo3::prelude::*;

use crate::error::Failure;
pub(crate) use control::{ControlMessage, ControlRecord};
pub(crate) use file::{CaptureFile, CaptureWriter, FileInterface};
pub(crate) use live::{Capture, CaptureStatistics};
pub(crate) use packet::{_packet, Packet};

pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let kind = match error.kind() {
        ErrorKind::Permission => "Permission",
        ErrorKind::NoSuchInterface => "NoSuchInterface",
        ErrorKind::InterfaceDown => "InterfaceDown",
        ErrorKind::LinkType(_) | ErrorKind::Unsupported(_) => "Unsupported",
        _ => "Other",
    };
    let failure = Failure {
        kind,
        operation: "capture",
        reason: error.to_string(),
        remedy: error.remedy().map(str::to_owned),
        group: None,
        interface: Some(error.interface()),
        errno: error.source().and_then(os_error_number),
    };
    failure.raise(py)
}

pub(crate) fn raise_file(py: Python<'_>, error: &FileError) -> PyErr {
    let kind = match error.kind() {
        FileErrorKind::NotACapture => "NotACapture",
        FileErrorKind::Truncated { .. } => "CutOff",
        FileErrorKind::Malformed { .. } => "Malformed",
        FileErrorKind::LinkTypeMismatch => "OtherLinkType",
        _ => "File",
    };
    let failure = Failure {
        kind,
        operation: "file",
        reason: error.to_string(),
        remedy: error.remedy().map(str::to_owned),
        group: None,
        interface: None,
        errno: error.source().and_then(os_error_number),
    };
    failure.raise(py)
}

fn os_error_number(source: &(dyn std::error::Error + 'static)) -> Option<i32> {
    source.downcast_ref::<io::Error>()?.raw_os_error()
}
