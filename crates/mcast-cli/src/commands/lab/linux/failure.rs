//! Errors of a lab, as errors of the command.

use mcast_lab::{LabError, LabErrorKind};

use crate::exit::Failure;

/// A lab's error with the exit status that belongs to it.
pub(super) fn failed(error: LabError) -> anyhow::Error {
    let message = told(&error);
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

/// The error as a sentence: a lab's errors begin with what was being done.
pub(super) fn told(error: &LabError) -> String {
    format!("cannot {error}")
}
