//! The socket is bound to another interface (`SO_BINDTODEVICE`) than the one on which it has joined the group.

use super::{Cause, Check};
use crate::acceptance::{Blocked, Refusal};
use crate::observation::Observation;
use crate::{Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Blocked(check), &["socket(7): SO_BINDTODEVICE"]);

fn check(observation: &Observation, blocked: &Blocked<'_>) -> Option<Finding> {
    let Refusal::Interface(bound) = blocked.refusal else { return None };
    let (bound, joined) = (observation.link_name(bound), observation.link_name(blocked.interface));
    let cause = format!(
        "{} has joined {} on {joined}, but its socket is bound to {bound} (SO_BINDTODEVICE) and receives only from there.",
        blocked.program, blocked.to
    );
    let socket = format!("bound to {bound}, joined on {joined}");
    let finding = blocked.finding(observation, Id::BoundToOtherInterface, cause, socket);
    Some(finding.advise(
        Tool::Program,
        format!("Join on {bound} if the group arrives there; otherwise bind to {joined}, or to no interface. Many programs have an option for it (--interface, bindtodevice, so-bindtodevice)."),
    ))
}
