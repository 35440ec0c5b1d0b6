//! The main loop: receives, answers, and prints interim results.

use std::time::Duration;

use mcast_doctor::PerfListener;

use super::printer::RunPrinter;
use super::{Limits, Plan};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{bytes, count, excess_loss, too_few};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn run(plan: Plan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let receiver = plan.builder.build()?;
    let interrupt = Interrupt::waking(receiver.waker())?;
    receiver.memberships().iter().for_each(|status| console.detail(status));
    // Created before the note that invites senders, because it reads the system's counters.
    let mut listener = PerfListener::new(&receiver, plan.limits.idle, plan.answers_pings);
    console.note(format_args!(
        "waiting for mcast perf send on {} (receive buffer: {})",
        plan.memberships,
        bytes(receiver.receive_buffer() as u64)
    ));
    let mut printer = RunPrinter::new(console, plan.json);
    listen(&mut listener, &mut printer, plan.limits, &interrupt)?;
    printer.summaries(&listener.take_all())?;
    note_strays(&listener, console);
    Ok(interrupt.outcome().unwrap_or_else(|| judge(&listener, plan.limits, console)))
}

/// Receives until enough runs have ended, the time is over, or an interrupt arrives.
fn listen(
    listener: &mut PerfListener<'_>,
    printer: &mut RunPrinter<'_>,
    limits: &Limits,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let mut next_line = SECOND;
    loop {
        let now = listener.receive()?;
        if interrupt.has_arrived() {
            return Ok(());
        }
        if now >= next_line {
            next_line += SECOND * (1 + (now - next_line).as_secs() as u32);
            printer.lines(now, listener.progress())?;
        }
        printer.summaries(&listener.take_ended(now))?;
        let account = listener.account();
        let is_enough = !limits.keep && account.tally().runs >= limits.count && account.is_idle();
        if is_enough || limits.timeout.is_some_and(|timeout| now >= timeout) {
            return Ok(());
        }
    }
}

/// Notes counts of datagrams that belong to no run, and of answers that were not sent.
fn note_strays(listener: &PerfListener<'_>, console: &Console) {
    let account = listener.account();
    for (number, what) in [
        (account.foreign(), "ignored: not from mcast perf send"),
        (account.rejected(), "ignored: too many sessions or streams at once"),
        (account.refused(), "requests not answered (rate limit)"),
        (listener.unsent(), "answers could not be sent"),
    ] {
        if number > 0 {
            console.note(format_args!("{} {what}", count(number)));
        }
    }
}

fn judge(listener: &PerfListener<'_>, limits: &Limits, console: &Console) -> Outcome {
    let tally = listener.account().tally();
    let mut misses = Vec::new();
    if let Some(required) = limits.expect.filter(|required| tally.datagrams < *required) {
        misses.push(too_few(&count(tally.datagrams), required));
    }
    misses.extend(excess_loss(tally.worst_loss, limits.max_loss));
    if tally.runs == 0 {
        misses.push("no run has ended".into());
    }
    misses.iter().for_each(|miss| console.note(miss));
    Outcome::of(misses.is_empty())
}
