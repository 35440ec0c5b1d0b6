//! Protocols that send rarely: nothing is wrong as long as the silence is shorter than their own interval.

use std::time::Duration;

use mcast::Group;
use mcast::group::{SendInterval, WellKnown};

use crate::OpenQuestion;
use crate::fate::depth::ExpectedFlow;
use crate::observation::Observation;

/// Returns the protocol of a group and port that may have been silent for this time although it runs, and its interval.
pub(super) fn resting(
    group: Group,
    port: u16,
    listened: Duration,
) -> Option<(&'static WellKnown, SendInterval)> {
    let known = group.well_known().find(|known| known.ports.contains(&port))?;
    let interval = known.interval?;
    let is_over = matches!(interval, SendInterval::Every(time) if time <= listened);
    (!is_over).then_some((known, interval))
}

/// Returns whether the silence of a flow is that of a protocol about which nobody has asked.
pub(crate) fn is_at_rest(observation: &Observation, flow: &ExpectedFlow<'_>) -> bool {
    let (group, port) = (flow.interest.group, flow.interest.port);
    observation.is_survey
        && flow.status.depth.is_silent()
        && resting(group, port, observation.listened()).is_some()
}

/// Returns the open question whether a silent flow arrives; `None` if its protocol should have sent.
pub(super) fn question(observation: &Observation, flow: &ExpectedFlow<'_>) -> Option<OpenQuestion> {
    let (group, port) = (flow.interest.group, flow.interest.port);
    let (known, interval) = resting(group, port, observation.listened())?;
    let what = format!("whether {} arrives on {}", flow.status.destination, flow.status.interface);
    let (name, document, seconds) = (known.name, known.reference, observation.listened().as_secs_f64());
    let question = match interval {
        SendInterval::Every(time) => {
            let longest = time.as_secs();
            let why = format!(
                "nothing came in {seconds:.1} s, and {name} may be silent for {longest} s ({document}): listen longer with -W {}s",
                longest + longest.div_ceil(10)
            );
            OpenQuestion::new(what, why).known_after(time)
        }
        _ => OpenQuestion::new(
            what,
            format!(
                "nothing came in {seconds:.1} s, and {name} sends only when queried, or when something changes ({document}): send a query during the examination, with a program of the protocol or with `mcast ask`"
            ),
        ),
    };
    Some(question.with_effect(observation.effect_of_doubt()))
}
