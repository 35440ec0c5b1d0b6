//! Converts errors of a lab to failures of the command.

use mcast_lab::{LabError, LabErrorKind};
use mcast_sys::{ClassifiedError, FailureClass};

use crate::exit::Failure;

/// Converts an error to a failure with its exit status. Its message does not repeat the remedy.
pub(super) fn failed(error: LabError) -> anyhow::Error {
    let message = match (error.kind(), error.cause()) {
        (LabErrorKind::Refused { why, .. }, Some(cause)) => {
            format!("cannot {}: {why} ({cause})", error.operation())
        }
        (LabErrorKind::Refused { why, .. }, None) => format!("cannot {}: {why}", error.operation()),
        _ => message(&error),
    };
    let failure = Failure::new(error.class().unwrap_or(FailureClass::Environment), message);
    match error.remedy() {
        Some(remedy) => failure.remedy(remedy).into(),
        None => failure.into(),
    }
}

/// Returns the error as a sentence. A lab's errors start with the action that failed.
pub(super) fn message(error: &LabError) -> String {
    format!("cannot {error}")
}
