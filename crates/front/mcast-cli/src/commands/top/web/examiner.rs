//! The doctor in the background: examines this machine, and what arrives for its programs, now and then. It joins and sends
//! nothing, so groups that no program has joined are not examined: that takes a membership.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use mcast_doctor::{Id, Options, Report, Severity, examine_programs};

use crate::sys::{self, Capability};

/// How often it examines, besides the time for which it listens to what arrives for the programs of this machine. Its capture
/// is one more that the kernel fills, so it lasts a tenth of the time.
const INTERVAL: Duration = Duration::from_secs(27);
const LISTENS: Duration = Duration::from_secs(3);

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
    /// Starts to examine, on a thread with the rights to inspect processes and the packet filter and to capture, as far as the
    /// calling one has them.
    pub(super) fn start() -> anyhow::Result<Self> {
        let examiner = Self::default();
        let latest = examiner.clone();
        sys::spawn("examiner", move || {
            // What it lacks is a part that is not examined.
            let _ = sys::keep_rights(&[&sys::INSPECT_PROCESSES[..], &[Capability::NetRaw]].concat());
            let options = Options::default().listening(LISTENS).with(|options| options.experiments = false);
            loop {
                let report = examine_programs(&options, &mut |_| ControlFlow::Continue(()));
                let report = report.map_err(|error| error.to_string()).map(|mut report| {
                    // The page shows which groups are silent.
                    report.findings.retain(|finding| {
                        finding.id != Id::NothingArrives || finding.severity != Severity::Note
                    });
                    report
                });
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
