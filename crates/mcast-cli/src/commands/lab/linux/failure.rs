//! What a lab cannot do, as the command tells it.

use mcast_lab::{LabError, LabErrorKind};

use crate::exit::Failure;

/// A lab's error with the exit status that belongs to it.
pub(super) fn failed(error: LabError) -> anyhow::Error {
    let message = error.to_string();
    match error.kind() {
        LabErrorKind::Refused { why, remedy } => {
            let why = error.cause().map_or_else(|| why.clone(), |cause| format!("{why} ({cause})"));
            Failure::permission(format!("{}: {why}", error.operation())).remedy(remedy.clone()).into()
        }
        LabErrorKind::Topology { .. } => Failure::usage(message).into(),
        _ => match error.remedy() {
            Some(remedy) => Failure::environment(message).remedy(remedy).into(),
            None => Failure::environment(message).into(),
        },
    }
}
