//! The main loop: sends as fast as possible or at the given pace, and counts the results.

use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

use mcast::group::Expand;
use mcast::{Family, Group, Membership, Outgoing, Rate};
use mcast_stream::ReadAhead;
use mcast_terminal::Console;
use serde::Serialize;

use super::payloads::Payloads;
use super::{Plan, TimingOptions};
use crate::arguments::is_host;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{count, traffic_in, write_record};
use crate::sending::{self, Count, Dispatch, Pace, Target};

/// The approximate number of datagrams per round.
const BATCH: usize = 64;

/// The state of `mcast send`.
struct Delivery<'a> {
    dispatch: Dispatch<'a>,
    targets: &'a [Target],
    timing: &'a TimingOptions,
    start: Instant,
}

pub(super) fn run(plan: Plan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let Plan { targets, payloads, timing, json, .. } = plan;
    let sender = plan.builder.build()?;
    sending::print(&targets, plan.hop_limit, plan.is_default_reach, console);
    if payloads.is_typed() {
        console.note("each line that you type is sent as a datagram; Ctrl-D ends the input");
    }
    let dispatch = Dispatch::new(&sender, console);
    let mut delivery = Delivery { dispatch, targets: &targets, timing, start: Instant::now() };
    let interrupt = match payloads.may_wait() {
        true => delivery.send_stream(payloads)?,
        false => delivery.send_available(payloads)?,
    };
    let count = delivery.dispatch.count();
    print_summary(count, delivery.start.elapsed(), json, console)?;
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(count.refused == 0)))
}

impl Delivery<'_> {
    /// Sends payloads that are available without waiting.
    fn send_available(&mut self, mut payloads: Payloads) -> anyhow::Result<Interrupt> {
        let interrupt = Interrupt::catch(|| {})?;
        let mut pace = self.pace(&interrupt);
        let mut round: Vec<Vec<u8>> = vec![Vec::new(); BATCH];
        let mut left = self.timing.count.unwrap_or(u64::MAX);
        while left > 0 {
            let mut filled = 0;
            while filled < self.at_once(left) && payloads.next(&mut round[filled])? {
                filled += 1;
            }
            if filled == 0 || !self.send_in_time(&round[..filled], &mut pace)? {
                break;
            }
            left -= filled as u64;
        }
        Ok(interrupt)
    }

    /// Sends payloads as they are read. A separate thread reads, because reading cannot be interrupted.
    fn send_stream(&mut self, mut payloads: Payloads) -> anyhow::Result<Interrupt> {
        let input = ReadAhead::<anyhow::Error>::start(move || {
            let mut payload = Vec::new();
            Ok(payloads.next(&mut payload)?.then_some(payload))
        })?;
        let interrupt = Interrupt::catch(input.waker())?;
        let mut pace = self.pace(&interrupt);
        let mut round = Vec::new();
        let mut left = self.timing.count.unwrap_or(u64::MAX);
        while left > 0 {
            let time_left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
            let wait = self.deadline().map_or(Duration::MAX, time_left);
            round.clear();
            input.take(wait, self.at_once(left), &mut round)?;
            // It is empty at the end of the input, at the deadline and after an interrupt.
            if round.is_empty() || !self.send_in_time(&round, &mut pace)? {
                break;
            }
            left -= round.len() as u64;
        }
        Ok(interrupt)
    }

    /// Returns the pace. `--rate` counts the datagrams to all groups; with `--every`, one is sent to each group at a
    /// time.
    fn pace(&self, interrupt: &Interrupt) -> Pace {
        let TimingOptions { rate, every, .. } = *self.timing;
        let (rate, together) = match (rate, every) {
            (Some(rate), _) => (Some(rate), 1),
            (None, every) => (every.map(Rate::one_per), self.targets.len()),
        };
        Pace::new(rate, together, self.deadline(), interrupt.clone())
    }

    /// Returns the number of payloads of a round, if this many are left.
    fn at_once(&self, left: u64) -> usize {
        let most = BATCH.div_ceil(self.targets.len());
        usize::try_from(left).map_or(most, |left| left.min(most))
    }

    fn deadline(&self) -> Option<Instant> {
        self.timing.timeout.and_then(|timeout| self.start.checked_add(timeout))
    }

    /// Sends payloads to every target when they are due. Returns `false` after the deadline or an interrupt.
    fn send_in_time(&mut self, round: &[Vec<u8>], pace: &mut Pace) -> anyhow::Result<bool> {
        let targets = self.targets;
        let outgoing: Vec<Outgoing<'_>> =
            round.iter().flat_map(|payload| targets.iter().map(|target| target.outgoing(payload))).collect();
        let mut rest = &outgoing[..];
        while !rest.is_empty() {
            let Some(due) = pace.wait(rest) else { return Ok(false) };
            self.dispatch.send(&rest[..due], targets.iter())?;
            rest = &rest[due..];
        }
        Ok(true)
    }
}

fn print_summary(
    Count { sent, bytes, refused }: Count,
    time: Duration,
    json: bool,
    console: &Console,
) -> anyhow::Result<()> {
    if json {
        let mut out = console.output();
        write_record(&mut out, "summary", &Summary { sent, bytes, seconds: time.as_secs_f64(), refused })?;
        out.flush()?;
    }
    // A rate of one datagram is meaningless.
    let text = traffic_in(sent, "datagram", bytes, time, 2);
    console.note(format_args!("sent {text}; refused by the kernel: {}", count(refused)));
    Ok(())
}

/// A summary as JSON: `schemas/send-summary.json`.
#[derive(Serialize)]
struct Summary {
    sent: u64,
    bytes: u64,
    seconds: f64,
    refused: u64,
}

/// The arguments as groups and messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SplitArguments {
    pub(super) groups: Vec<String>,
    /// Any bytes, as typed.
    pub(super) messages: Vec<OsString>,
}

/// Splits the arguments. The first one is a group, and so are the following ones as long as they are addresses; the
/// rest are messages. With messages after `--`, all others are groups.
pub(super) fn split(
    words: &[OsString],
    after: &[OsString],
    family: Option<Family>,
) -> Result<SplitArguments, Failure> {
    if !after.is_empty() {
        return Ok(SplitArguments { groups: groups_of(words), messages: after.to_vec() });
    }
    let expand = Expand { family, ..Expand::default() };
    let is_group = |word: &str| is_address(word) && (is_host(word) || expand.destinations(word).is_ok());
    let groups = 1 + words.iter().skip(1).take_while(|word| word.to_str().is_some_and(is_group)).count();
    let (groups, messages) = words.split_at(groups.min(words.len()));
    if let Some(word) = messages.first().and_then(|word| word.to_str())
        && let Some(problem) = mistaken(word, &expand)
    {
        return Err(Failure::usage(problem).remedy(format!("to send it as a message, write: -- \"{word}\"")));
    }
    Ok(SplitArguments { groups: groups_of(groups), messages: messages.to_vec() })
}

/// Converts words to text. Words that are not UTF-8 are not valid groups, and are reported later.
fn groups_of(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Returns whether the word starts like an address or a URL.
fn is_address(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit() || first == '[') || word.contains("://")
}

/// Returns why a message looks like a mistyped group; `None` if it does not.
fn mistaken(word: &str, expand: &Expand) -> Option<String> {
    let address = word.trim_start_matches('[').split(['%', ']', '/', '+']).next()?;
    let is_group = |text: &str| text.parse::<Group>().is_ok();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    if !is_group(address) && !is_group(host) && word.parse::<Membership>().is_err() {
        return None;
    }
    expand.destinations(word).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_words(words: &[&str], after: &[&str]) -> Result<(usize, Vec<OsString>), Failure> {
        let owned = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        split(&owned(words), &owned(after), None).map(|words| (words.groups.len(), words.messages))
    }

    #[test]
    fn groups_come_first() {
        assert_eq!(split_words(&["239.1.2.3:5000"], &[]).unwrap(), (1, vec![]));
        assert_eq!(split_words(&["239.1.2.3:5000", "hello", "239.1.2.3:5"], &[]).unwrap().0, 1);
        assert_eq!(
            split_words(&["239.1.2.3:5000", "[ff15::1]:5000", "hi"], &[]).unwrap(),
            (2, vec!["hi".into()])
        );
        assert_eq!(split_words(&["10.0.0.5:5000", "[fe80::6%eth0]:5000", "hi"], &[]).unwrap().0, 2);
        assert_eq!(split_words(&["mdns", "ssdp"], &[]).unwrap(), (1, vec!["ssdp".into()]));
        assert_eq!(split_words(&["239.1.2.3:5000", "udp://239.1.2.4:1", "12:30"], &[]).unwrap().0, 2);
    }

    #[test]
    fn after_two_dashes_everything_is_a_message() {
        assert_eq!(
            split_words(&["mdns", "ssdp"], &["239.1.2.3:1"]).unwrap(),
            (2, vec!["239.1.2.3:1".into()])
        );
    }

    #[test]
    fn a_mistyped_group_is_not_sent_as_a_message() {
        for word in [
            "239.1.2.4",
            "239.1.2.4:",
            "239.1.2.4:99999",
            "239.1.2.4%eth0",
            "[ff15::1]",
            "10.0.0.1@232.1.1.1:5",
        ] {
            let error = split_words(&["239.1.2.3:5000", word, "hello"], &[]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("\"{word}\"")), "{error}");
        }
        split_words(&["239.1.2.3:5000", "10.0.0.1"], &[]).unwrap();
    }
}
