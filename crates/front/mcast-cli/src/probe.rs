//! Both ends of `mcast ping` and `mcast doctor`: the responder, and the description of its replies.

use std::time::Duration;

use mcast_path::Listener;
use mcast_terminal::Console;

use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{count, count_of};
use crate::receiving::{SilentInterfaces, print_memberships};

/// `same network`, `1 hop`, `2 to 3 hops`, or `?` if the distance is unknown.
pub(crate) fn distance(hops: Option<(u8, u8)>) -> String {
    match hops {
        None => "?".into(),
        Some((0, 0)) => "same network".into(),
        Some((fewest, most)) if fewest == most => count_of(fewest.into(), "hop"),
        Some((fewest, most)) => format!("{fewest} to {most} hops"),
    }
}

/// `0.123 ms`, or `-` without a reply.
pub(crate) fn round_trip(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".into(), |time| format!("{:.3} ms", millis(time)))
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

/// Answers probes until Ctrl-C or for `timeout`.
pub(crate) fn respond(
    listener: &Listener,
    timeout: Option<Duration>,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::waking(listener.receiver().waker())?;
    let memberships = || listener.receiver().memberships();
    print_memberships(&memberships(), console);
    let mut silent_interfaces = SilentInterfaces::default();
    silent_interfaces.warn(&memberships(), console);
    let at_port = listener.unicast_port().map(|port| format!(", unicast probes at port {port}"));
    console.note(format_args!(
        "answering pings and `mcast doctor --probe` until Ctrl-C{}",
        at_port.unwrap_or_default()
    ));
    listener.run(
        timeout,
        |_| {
            silent_interfaces.warn_regularly(memberships, console);
            Ok::<_, anyhow::Error>(!interrupt.has_arrived())
        },
        |prober| console.note(format_args!("probes from {prober}")),
    )?;
    if let Some(findings) = listener.own_findings() {
        let found = if findings.is_empty() { "nothing wrong found" } else { &findings };
        console.note(format_args!("examined this listener: {found}"));
    }
    let counts = listener.counts();
    let others = [
        (counts.refused, "not answered (rate limit)"),
        (counts.foreign, "not from mcast ping or doctor"),
        (counts.failed, "could not be answered"),
    ];
    let others = others.iter().filter(|(number, _)| *number > 0);
    let others: String = others.map(|(number, what)| format!("; {} {what}", count(*number))).collect();
    console.note(format_args!("answered {}{others}", count_of(counts.answered, "probe")));
    Ok(interrupt.outcome().unwrap_or(Outcome::Yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_as_text() {
        let distances = [None, Some((0, 0)), Some((1, 1)), Some((2, 3))].map(distance);
        assert_eq!(distances, ["?", "same network", "1 hop", "2 to 3 hops"]);
    }
}
