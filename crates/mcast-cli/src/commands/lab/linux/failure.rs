//! Converts errors of a lab to failures of the command.

use mcast_lab::{LabError, LabErrorKind};

use crate::exit::Failure;

/// Converts an error to a failure with its exit status.
pub(super) fn failed(error: LabError) -> anyhow::Error {
    let message = message(&error);
    match error.kind() {
        LabErrorKind::Refused { why, remedy } => {
            let why = error.cause().map_or_else(|| why.clone(), |cause| format!("{why} ({cause})"));
            Failure::permission(format!("cannot {}: {why}", error.operation())).remedy(remedy.clone()).into()
        }
        LabErrorKind::Topology { .. } | LabErrorKind::Invalid(_) => Failure::usage(message).into(),
        _ => match error.remedy() {
            Some(remedy) => Failure::environment(message).remedy(remedy).into(),
            None => Failure::environment(message).into(),
        },
    }
}

/// Returns the error as a sentence. A lab's errors start with the action that failed.
pub(super) fn message(error: &LabError) -> String {
    format!("cannot {error}")
}
