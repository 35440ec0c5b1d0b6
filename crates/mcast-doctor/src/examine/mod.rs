//! The four ways to examine.

mod account;
mod file;
mod machine;
mod membership;
mod program;

pub use file::explain_capture;
pub use machine::examine_machine;
pub use membership::examine_membership;
pub use program::{Target, examine_program};

use crate::observation::Observation;
use crate::{Report, causes};

/// What an observation comes to.
fn report(seen: &Observation) -> Report {
    let mut report = Report { findings: causes::judge(seen), ..Report::default() };
    account::of(seen, &mut report);
    report
}
