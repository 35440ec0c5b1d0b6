//! `mcast send`: sends datagrams to groups, as fast as possible or at the given pace, and counts the results.

mod payloads;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mcast::group::Expand;
use mcast::{Family, Group, Membership, Outgoing, Rate, Sender, SenderBuilder};
use mcast_terminal::Console;
use payloads::Payloads;
use serde::Serialize;

use crate::arguments::{
    BroadcastOption, Egress, is_host, parse_count, parse_dscp, parse_duration, parse_positive_size,
    parse_size, resolve_host, select_destinations, with_dscp,
};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{count, print_record, traffic_in};
use crate::read_ahead::ReadAhead;
use crate::sending::{self, Count, Dispatch, Pace, Target};

/// Send datagrams to groups, or to hosts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(crate) struct Arguments {
    /// Where to send: `GROUP[%INTERFACE]:PORT`, a range, a name (`mdns`) or a URL (`udp://GROUP:PORT`), or, without
    /// multicast, a host (`10.0.0.5:5000`, `receiver.example:5000`); then the messages, one datagram each [default:
    /// standard input]
    #[arg(required = true, value_name = "GROUP:PORT… [MESSAGE…]")]
    words: Vec<OsString>,

    /// Messages, after `--`: then every word before it is a group
    #[arg(last = true, value_name = "MESSAGE", hide = true)]
    messages: Vec<OsString>,

    #[command(flatten)]
    egress: Egress,

    #[command(flatten)]
    broadcast: BroadcastOption,

    /// Do not deliver to receivers on this host
    #[arg(long)]
    no_loopback: bool,

    /// Send from this address of this machine [default: one of the outgoing interface]
    #[arg(short, long, value_name = "ADDRESS")]
    source: Option<IpAddr>,

    /// Send from this port
    #[arg(long, value_name = "PORT", default_value = "0", hide_default_value = true)]
    source_port: u16,

    /// Set the DSCP: 0 to 63, or a name such as EF, AF41, CS5
    #[arg(long, value_name = "DSCP", value_parser = parse_dscp)]
    dscp: Option<u8>,

    /// Print the summary as a JSON object on standard output
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    content: Content,

    #[command(flatten)]
    timing: TimingOptions,
}

/// What to send.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to send")]
struct Content {
    /// Send this file: whole, or divided by --lines or --chunk
    #[arg(long, value_name = "FILE", conflicts_with = "random")]
    file: Option<PathBuf>,

    /// Send datagrams of SIZE random bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "hex")]
    random: Option<usize>,

    /// Messages (or lines) are hexadecimal: 48656c6c6f, or "48 65 6c 6c 6f"
    #[arg(long)]
    hex: bool,

    #[command(flatten)]
    division: Division,
}

/// How standard input or a file is divided into datagrams.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Division {
    /// One datagram per line, without the line end [default for standard input]
    #[arg(long)]
    lines: bool,

    /// One datagram with the whole input [default for a file]
    #[arg(long)]
    whole: bool,

    /// One datagram per SIZE bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_positive_size)]
    chunk: Option<usize>,
}

/// Options for rate and repetition.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How often and how fast")]
struct TimingOptions {
    /// Stop after N datagrams to each group; messages are repeated until then
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    count: Option<u64>,

    /// Stop after TIME
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Time between datagrams; without --count until Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "rate")]
    every: Option<Duration>,

    /// Pace evenly: 200kpps, or 10Mbit of payload; without --count until Ctrl-C
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
}

const USAGE: &str = "mcast send [OPTIONS] GROUP:PORT... [MESSAGE...]\n       mcast send [OPTIONS] GROUP:PORT... -- MESSAGE...";

const EXAMPLES: &str = "\
The first arguments are groups or hosts, up to the first one that is not an address; the name of a
group, such as mdns, or of a host with a port counts only as the first argument. The rest are messages, as is everything after --. Exit status 1 if
the kernel refused a datagram.

Examples:
  mcast send 239.255.1.2:5000 hello                     one datagram
  mcast send 239.255.1.2:5000 -i lo hello               to this machine only
  mcast send 239.255.1.2:5000 tick --every 1s           until Ctrl-C
  ls | mcast send 239.255.1.2:5000                      one datagram per line
  mcast send 239.255.1.2:5000 --file Cargo.toml --chunk 1400
  mcast send 239.255.1.2:5000 --random 1316 --rate 10Mbit -W 5 -i lo
  mcast send '[ff15::1]:5000' --hex 48656c6c6f          IPv6, bytes in hexadecimal
  mcast send 10.0.0.5:5000 10.0.0.6:5000 hello          to two hosts, without multicast
  mcast send receiver.example:5000 hello                to the host of this name
  mcast send --broadcast 5000 -i eth0 hello             to all hosts on the link";

/// What to send, and where: the arguments, resolved.
struct SendPlan<'a> {
    targets: Vec<Target>,
    hop_limit: u8,
    /// Whether no `--ttl` is given, so that the hop limit is pointed out.
    is_default_reach: bool,
    builder: SenderBuilder,
    payloads: Payloads,
    timing: &'a TimingOptions,
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    deliver(plan(arguments, console)?, console)
}

fn plan<'a>(arguments: &'a Arguments, console: &Console) -> anyhow::Result<SendPlan<'a>> {
    let Arguments { egress, content, timing, broadcast, .. } = arguments;
    let mut split = split(&arguments.words, &arguments.messages, egress.families.only())?;
    if !broadcast.broadcast {
        for text in &mut split.groups {
            if let Some(address) = resolve_host(text, egress.families, console)? {
                *text = address;
            }
        }
    }
    let (hosts, groups) = broadcast.split(&split.groups, egress.families)?;
    let chosen = select_destinations(&groups, egress.families, console)?;
    let hop_limit = egress.hop_limit(chosen.hop_limit);
    // Without any, the system's is used for hosts.
    let given = egress.ttl.or(chosen.hop_limit);
    let builder = given.into_iter().fold(Sender::builder(), SenderBuilder::hop_limit);
    let builder = builder
        .broadcast(broadcast.broadcast)
        .loopback(!arguments.no_loopback)
        .source_port(arguments.source_port);
    let builder = arguments.source.into_iter().fold(builder, SenderBuilder::source_address);
    let targets = sending::resolve_all(&chosen.items, &hosts, &egress.interfaces)?;
    if let Some(source) = arguments.source
        && let Some(other) = targets.iter().find(|target| target.family() != Family::of(source))
    {
        let message = format!(
            "cannot send to {} from {source}: the addresses are not of the same family",
            other.address()
        );
        return Err(Failure::usage(message).into());
    }
    Ok(SendPlan {
        targets: match arguments.source {
            Some(source) => targets.into_iter().map(|target| target.with_source(source)).collect(),
            None => targets,
        },
        hop_limit,
        is_default_reach: egress.ttl.is_none(),
        builder: with_dscp(builder, arguments.dscp),
        payloads: Payloads::choose(&split.messages, content, timing)?,
        timing,
        json: arguments.json,
    })
}

/// The approximate number of datagrams per round.
const BATCH: usize = 64;

/// The state of `mcast send`.
struct Delivery<'a> {
    dispatch: Dispatch<'a>,
    targets: &'a [Target],
    timing: &'a TimingOptions,
    start: Instant,
}

fn deliver(plan: SendPlan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let SendPlan { targets, payloads, timing, json, .. } = plan;
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
        let summary = SendSummary { sent, bytes, seconds: time.as_secs_f64(), refused };
        print_record(console, "summary", &summary)?;
    }
    // A rate of one datagram is meaningless.
    let text = traffic_in(sent, "datagram", bytes, time, 2);
    console.note(format_args!("sent {text}; refused by the kernel: {}", count(refused)));
    Ok(())
}

/// One object at the end.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct SendSummary {
    /// Datagrams sent, counted per group and interface
    sent: u64,
    /// Payload bytes sent
    bytes: u64,
    /// Duration, in seconds
    seconds: f64,
    /// Datagrams refused by the kernel
    refused: u64,
}

/// The arguments as groups and messages.
#[derive(Debug, PartialEq, Eq)]
struct SplitArguments {
    groups: Vec<String>,
    /// Any bytes, as typed.
    messages: Vec<OsString>,
}

/// Splits the arguments. The first one is a group, and so are the following ones as long as they are addresses; the
/// rest are messages. With messages after `--`, all others are groups.
fn split(words: &[OsString], after: &[OsString], family: Option<Family>) -> Result<SplitArguments, Failure> {
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

mcast_json::schemas! { pub(super),
    RecordSchema::new::<SendSummary>("send-summary", "Summary (`mcast send --json`)").event("summary"),
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
        assert_eq!(split_words(&["239.255.1.3:5000"], &[]).unwrap(), (1, vec![]));
        assert_eq!(split_words(&["239.255.1.3:5000", "hello", "239.255.1.3:5"], &[]).unwrap().0, 1);
        assert_eq!(
            split_words(&["239.255.1.3:5000", "[ff15::1]:5000", "hi"], &[]).unwrap(),
            (2, vec!["hi".into()])
        );
        assert_eq!(split_words(&["10.0.0.5:5000", "[fe80::6%eth0]:5000", "hi"], &[]).unwrap().0, 2);
        assert_eq!(split_words(&["mdns", "ssdp"], &[]).unwrap(), (1, vec!["ssdp".into()]));
        assert_eq!(split_words(&["239.255.1.3:5000", "udp://239.255.1.4:1", "12:30"], &[]).unwrap().0, 2);
    }

    #[test]
    fn after_two_dashes_everything_is_a_message() {
        assert_eq!(
            split_words(&["mdns", "ssdp"], &["239.255.1.3:1"]).unwrap(),
            (2, vec!["239.255.1.3:1".into()])
        );
    }

    #[test]
    fn a_mistyped_group_is_not_sent_as_a_message() {
        for word in [
            "239.255.1.4",
            "239.255.1.4:",
            "239.255.1.4:99999",
            "239.255.1.4%eth0",
            "[ff15::1]",
            "10.0.0.1@232.1.1.1:5",
        ] {
            let error = split_words(&["239.255.1.3:5000", word, "hello"], &[]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("\"{word}\"")), "{error}");
        }
        split_words(&["239.255.1.3:5000", "10.0.0.1"], &[]).unwrap();
    }
}
