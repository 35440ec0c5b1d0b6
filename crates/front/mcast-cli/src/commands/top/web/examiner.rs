//! The doctor in the background: examines this machine now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use mcast_doctor::{Report, examine_machine};

use crate::sys;

/// How often it examines. It reads tables of the system, and sends nothing.
const INTERVAL: Duration = Duration::from_secs(30);

/// The latest examination.
#[derive(Clone, Debug, Default)]
pub(super) struct Examiner(Arc<Mutex<Option<Examination>>>);

/// An examination.
#[derive(Clone, Debug)]
pub(super) struct Examination {
    pub(super) at: SystemTime,
    /// The report, or why there is none.
    pub(super) report: Result<Report, String>,
}

impl Examiner {
    /// Starts to examine, on a thread with the rights to inspect processes and the packet filter, as far as the calling one has them.
    pub(super) fn start() -> anyhow::Result<Self> {
        let examiner = Self::default();
        let latest = examiner.clone();
        sys::spawn("examiner", move || {
            // What it lacks is a part that is not examined.
            let _ = sys::keep_rights(&sys::INSPECT_PROCESSES);
            loop {
                let report = examine_machine().map_err(|error| error.to_string());
                latest.put(Examination { at: SystemTime::now(), report });
                thread::sleep(INTERVAL);
            }
        })?;
        Ok(examiner)
    }

    fn put(&self, examination: Examination) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(examination);
    }

    /// Returns the latest examination that was not taken before.
    pub(super) fn take(&self) -> Option<Examination> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
