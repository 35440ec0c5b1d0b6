//! `mcast bridge BROKER to GROUP:PORT`: publishes a stream that a broker holds.

mod session;
mod text;

use std::time::Duration;

use mcast::{Destination, Membership};
use mcast_bridge::{ReverseBridge, ReverseConfig, StartAt, UnixMillis};
use mcast_stream::publisher::PublisherConfig;
use mcast_stream::wire::{MessageNumber, StreamId};
use mcast_stream::{HeartbeatListener, Publisher, PublisherBuilder, present_incarnation};
use mcast_terminal::Console;

use super::bridges::Process;
use super::engine::{self, Target};
use super::surroundings::Surroundings;
use super::{Arguments, random};
use crate::arguments::{
    KeyFile, parse_duration, parse_moment, parse_speed, parse_stream_name, select_destinations,
};
use crate::exit::{Failure, Outcome};
use crate::metrics;
use session::{Running, Session};

/// Options that apply when publishing from a broker.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "From a broker")]
pub(super) struct ReverseOptions {
    /// Where to start: `now`, at the `oldest` message available, with a message NUMBER, an ID of the broker, or a TIME
    /// (`2026-11-22T09:30:00Z`, or `24h` ago) [default: oldest]
    #[arg(long, value_name = "WHERE", value_parser = parse)]
    from: Option<StartOption>,

    /// Speed up or slow down by FACTOR: 2, or 0.5 [default: as fast as subscribers receive]
    #[arg(long, value_name = "FACTOR", value_parser = parse_speed)]
    speed: Option<f64>,

    /// Announce the stream under NAME, for `mcast subscribe NAME`; also the name of the stream, unless
    /// --name is given
    #[arg(long, value_name = "NAME", value_parser = parse_stream_name)]
    announce: Option<String>,

    /// How many networks to cross [default: 1, this network]
    #[arg(short, long, value_name = "HOPS")]
    ttl: Option<u8>,

    /// Evict a subscriber that makes no progress for TIME [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    evict_after: Option<Duration>,

    /// Wait until N subscribers have joined; best-effort subscribers are not counted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=PublisherConfig::MOST_SUBSCRIBERS as i64))]
    wait_for: Option<u32>,

    /// At the end, wait at most TIME until all subscribers have everything
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    linger: Option<Duration>,
}

const LINGER: Duration = Duration::from_secs(10);

impl ReverseOptions {
    /// Returns the name of a given option that applies only when publishing from a broker.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.from.is_some(), "--from"),
            (self.speed.is_some(), "--speed"),
            (self.announce.is_some(), "--announce"),
            (self.ttl.is_some(), "--ttl"),
            (self.evict_after.is_some(), "--evict-after"),
            (self.wait_for.is_some(), "--wait-for"),
            (self.linger.is_some(), "--linger"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }

    fn linger(&self) -> Duration {
        self.linger.unwrap_or(LINGER)
    }
}

/// What is published, and where.
struct ReversePlan {
    name: String,
    destinations: Vec<Destination>,
    /// The same, as they were named.
    texts: String,
}

pub(super) fn run(arguments: &Arguments, process: &Process, console: &Console) -> anyhow::Result<Outcome> {
    // Before anything that takes time, so that SIGHUP does not end the process meanwhile.
    let key_file = arguments.stream.key.as_deref().map(KeyFile::watch).transpose()?;
    let keys = key_file.as_ref().map(|file| file.read(console)).transpose()?.unwrap_or_default();
    let target = engine::Target::parse_source(arguments)?;
    let bound = arguments.metrics.as_ref().map(metrics::bind).transpose()?;
    if session::are_stored(&target)? {
        let bridge = session::start(arguments, &target, console)?;
        let interrupt = || bridge.interrupt();
        let around = Surroundings::new(target.description(), None, interrupt, arguments, process, console)?;
        return Session::new(bridge, around).run(bound);
    }
    let plan = plan(arguments, &target, console)?;
    let stream = StreamId::named(&plan.name);
    let memberships = plan.destinations.iter().map(|destination| Membership {
        interface: destination.interface.clone(),
        ..Membership::new(destination.address)
    });
    let listener = HeartbeatListener::join(memberships, stream, keys.clone())?;
    let random = random();
    let options = &arguments.reverse;
    let config = ReverseConfig {
        step: random as u32 % 4,
        jitter: Duration::from_millis((random >> 8) % 200),
        start: options.from.as_ref().map_or(Ok(StartAt::Oldest), |from| from.resolve(&target))?,
        speed: options.speed,
        stay: arguments.stream.stay,
        wait_for: options.wait_for.unwrap_or(0).into(),
        ..ReverseConfig::new(stream, (random >> 32) as u32, present_incarnation())
    };
    let description = target.description();
    console.note(format_args!("stream {stream} (\"{}\"), from {description} to {}", plan.name, plan.texts));
    let builder = publisher(&plan, arguments);
    let bridge = ReverseBridge::start(listener, builder, keys, target.engine(), config)?;
    let bridge = Running::Stream(Box::new(bridge));
    let interrupt = || bridge.interrupt();
    let around = Surroundings::new(description, key_file, interrupt, arguments, process, console)?;
    Session::new(bridge, around).run(bound)
}

fn plan(arguments: &Arguments, target: &engine::Target, console: &Console) -> anyhow::Result<ReversePlan> {
    let (options, families) = (&arguments.reverse, arguments.admission.families);
    let texts: Vec<String> = arguments.engine.iter().chain(&arguments.paths).cloned().collect();
    let chosen = select_destinations(&texts, families, console)?;
    if chosen.items.len() > texts.len() {
        return Err(Failure::usage("a stream is published to single groups, not to ranges")
            .remedy("name each group with --path, at most four in total")
            .into());
    }
    if let Some(destination) = chosen.items.iter().find(|each| each.address.group.is_source_specific()) {
        let group = destination.address.group;
        return Err(Failure::usage(format!(
            "{group} is a source-specific group, on which bridges cannot hear each other"
        ))
        .remedy("publish to a group outside 232.0.0.0/8 and ff3x::/32")
        .into());
    }
    let on_interface = |destination: Destination| Destination {
        interface: destination.interface.clone().or_else(|| arguments.interface.clone()),
        ..destination
    };
    let name = arguments.stream.name.as_ref().or(options.announce.as_ref());
    Ok(ReversePlan {
        name: name.cloned().unwrap_or_else(|| target.key().to_owned()),
        destinations: chosen.items.into_iter().map(on_interface).collect(),
        texts: texts.join(" and "),
    })
}

/// Returns the settings of the publisher.
fn publisher(plan: &ReversePlan, arguments: &Arguments) -> impl Fn() -> PublisherBuilder + 'static {
    let options = &arguments.reverse;
    let destinations = plan.destinations.clone();
    let (announce, ttl) = (options.announce.clone(), options.ttl);
    let (buffer, evict_after) = (arguments.keeping.buffer, options.evict_after);
    move || {
        let builder = destinations.iter().cloned().fold(Publisher::builder(), PublisherBuilder::to);
        let builder = announce.iter().fold(builder, PublisherBuilder::announce);
        let builder = ttl.into_iter().fold(builder, PublisherBuilder::hop_limit);
        let builder = buffer.into_iter().fold(builder, PublisherBuilder::retransmission_buffer);
        evict_after.into_iter().fold(builder, PublisherBuilder::eviction)
    }
}

/// Where to start, as it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StartOption {
    At(StartAt),
    /// With the record of this id, which each broker numbers in its own way.
    Id(String),
}

impl StartOption {
    /// Returns where that is in this broker.
    fn resolve(&self, target: &Target) -> anyhow::Result<StartAt> {
        match self {
            Self::At(start) => Ok(*start),
            Self::Id(id) => target.record_position(id).map(StartAt::Position),
        }
    }
}

/// Parses `oldest`, `now`, a message number, an id as the broker shows it, a time of day or an age.
fn parse(text: &str) -> Result<StartOption, String> {
    match text {
        "oldest" => return Ok(StartOption::At(StartAt::Oldest)),
        "now" | "new" => return Ok(StartOption::At(StartAt::New)),
        _ => {}
    }
    if let Ok(number) = text.parse() {
        return Ok(StartOption::At(StartAt::Number(MessageNumber(number))));
    }
    if let Some((incarnation, number)) = text.split_once('-')
        && incarnation.parse::<u32>().is_ok()
        && number.parse::<u64>().is_ok()
    {
        return Ok(StartOption::Id(text.to_owned()));
    }
    match parse_moment(text) {
        Some(time) => Ok(StartOption::At(StartAt::Time(UnixMillis(time)))),
        None => Err("write oldest, now, a message number, an id of the broker, a time such as \
                     2026-11-22T09:30:00Z, or an age such as 24h"
            .into()),
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<super::bridges::Labelled<'_, text::EventRecord>>(
        "bridge-publish-event",
        "Event of a bridge from a broker (`mcast bridge BROKER to GROUP --json`)",
    )
    .events([
        "connected",
        "disconnected",
        "standing-by",
        "began",
        "took-over",
        "waiting-for-subscribers",
        "gap",
        "ended",
    ]),
    RecordSchema::new::<super::bridges::Labelled<'_, text::ReverseSummary>>(
        "bridge-publish-summary",
        "Summary of a bridge from a broker (`mcast bridge BROKER to GROUP --json`)",
    )
    .event("summary")
    .describe("event", "Type of the object"),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_numbers_ids_times_and_ages_are_told_apart() {
        assert_eq!(parse("oldest"), Ok(StartOption::At(StartAt::Oldest)));
        assert_eq!(parse("new"), Ok(StartOption::At(StartAt::New)));
        assert_eq!(parse("17"), Ok(StartOption::At(StartAt::Number(MessageNumber(17)))));
        assert_eq!(parse("5-7"), Ok(StartOption::Id("5-7".to_owned())));
        let time = StartOption::At(StartAt::Time(UnixMillis(1_795_339_800_000)));
        assert_eq!(parse("2026-11-22T09:30:00Z"), Ok(time));
        assert!(matches!(parse("1h"), Ok(StartOption::At(StartAt::Time(_)))));
        for text in ["", "yesterday", "5-", "-5", "12:00x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
