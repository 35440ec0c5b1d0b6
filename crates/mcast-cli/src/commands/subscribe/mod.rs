//! `mcast subscribe`: all messages of a stream, in order, and word of any that could not be had.

mod execute;
mod format;
mod listen;
mod named;
mod outlet;
mod policy;
mod snapshot;
mod story;

use std::path::PathBuf;
use std::time::Instant;

use mcast::{InterfaceSelector, Membership};
use mcast_stream::Subscriber;
use mcast_stream::receiver::Start;
use mcast_stream::seal::Keys;
use mcast_stream::wire::StreamId;

use crate::arguments::{Families, Limits, chosen_memberships, is_stream_name, parse_size, read_keys};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use listen::Listener;
use policy::{AfterLoss, Wanted};
use snapshot::Snapshots;

/// Receive all messages of a stream
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where the stream is published: `[SOURCE@]GROUP[%INTERFACE]:PORT`, a URL, or a session description;
    /// or the name that its publisher announces
    #[arg(value_name = "MEMBERSHIP|NAME")]
    place: String,

    /// Hear it on this membership, too, and take what comes first; repeatable
    #[arg(long = "path", value_name = "MEMBERSHIP")]
    paths: Vec<String>,

    /// Join on this interface: a name, index or address [default: all that are up and can multicast]
    #[arg(short, long, value_name = "INTERFACE")]
    interface: Option<InterfaceSelector>,

    /// Admit only this source, or with a `!` before it every other; repeatable
    #[arg(short, long = "source", value_name = "SOURCE", value_delimiter = ',')]
    sources: Vec<String>,

    #[command(flatten)]
    families: Families,

    #[command(flatten)]
    stream: Stream,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    show: Show,
}

/// Which messages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which messages")]
struct Stream {
    /// Only the stream of this name [default: the first that is heard]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// From where on: `now`, the `oldest` that can still be had, or a `snapshot` of the state and what follows
    #[arg(long, value_name = "WHERE", default_value = "now", hide_possible_values = true)]
    from: From,

    /// What to do about gaps: `reliable`, `deadline=50ms`, `best-effort` or `latest`
    #[arg(long, value_name = "POLICY", default_value = "reliable", value_parser = policy::parse)]
    policy: Wanted,

    /// What comes after a loss that nothing repairs: `continue` behind it, a fresh `snapshot`, or `stop`; goes with
    /// `reliable` [default: snapshot with --from snapshot, else continue]
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    on_loss: Option<AfterLoss>,

    /// Open with the secrets of this file
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Ask for this much receive buffer [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    buffer: Option<usize>,

    /// Stay when the stream has ended, for its publisher's next life
    #[arg(long)]
    stay: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// With what is published from now on
    Now,
    /// With the oldest that can still be had
    Oldest,
    /// With the state as its publisher has it (`publish --snapshot`), and what follows
    Snapshot,
}

/// What becomes of the messages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to do with them")]
struct Show {
    /// Print the messages' bytes and nothing else, not even line ends
    #[arg(long, conflicts_with_all = ["records", "json"])]
    raw: bool,

    /// Print records: four bytes of length, the greatest first, then the message
    #[arg(long, conflicts_with = "json")]
    records: bool,

    /// Print one JSON object a message, and one an event
    #[arg(long)]
    json: bool,

    /// Run this shell command for each, one after the other: the message is its standard input,
    /// MCAST_STREAM, MCAST_SEQUENCE and MCAST_LENGTH are in its environment, of a snapshot MCAST_SNAPSHOT=1
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["raw", "records"])]
    exec: Option<String>,
}

const EXAMPLES: &str = "\
Each message is printed as a line. It ends when the publisher has closed its stream; status 1 if a
message was lost, and which ones is said. With --json an event has `event`, a message `sequence`.

Policies:
  reliable        wait until every gap is repaired; what nobody can repair is told   [default]
  deadline=TIME   wait so long for a repair, then go on and tell what is missing
  best-effort     ask for nothing: go on at once, and tell what is missing
  latest          of each key only the latest message

Examples:
  mcast subscribe 239.255.1.2:7000                          until the stream ends
  mcast subscribe prices                                    the stream that is announced so
  mcast subscribe prices --from snapshot                    the state first, then what follows
  mcast subscribe 239.255.1.2:7000 --from oldest -c 10      ten messages from the oldest on
  mcast subscribe 239.255.1.2:7000 --key prices.key --json  sealed; for programs
  mcast subscribe 239.1.1.1%eth0:7000 --path 239.1.1.2%eth1:7000   on two networks
  mcast subscribe 239.255.1.2:7000 --policy deadline=50ms   rather late than never is not for you
  mcast subscribe 239.255.1.2:7000 --exec 'jq .price'       a command a message";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let stream = &arguments.stream;
    let keys = stream.key.as_deref().map(|path| read_keys(path, console)).transpose()?.unwrap_or_default();
    let (subscriber, snapshots) = open(arguments, keys, console)?;
    subscriber.receiver().memberships().iter().for_each(|status| console.note(status));
    let waker = subscriber.waker();
    let interrupt = Interrupt::catch(move || {
        // Without a waker the wait ends with the next datagram.
        let _ = waker.wake();
    })?;
    Listener::new(arguments, subscriber, snapshots, interrupt, begun, console)?.run()
}

/// A subscriber, and what fetches snapshots for it, if it begins with one.
fn open(
    arguments: &Arguments,
    keys: Keys,
    console: &Console,
) -> anyhow::Result<(Subscriber, Option<Snapshots>)> {
    let stream = &arguments.stream;
    check(stream)?;
    let (found, memberships) = match is_stream_name(&arguments.place) {
        true => {
            let (found, memberships) = named::find(arguments, &keys, console)?;
            (Some(found), memberships)
        }
        false if stream.from == From::Snapshot => return Err(no_name().into()),
        false => (None, memberships(arguments, console)?),
    };
    let start = match stream.from {
        From::Now => Start::Now,
        From::Oldest => Start::Oldest,
        From::Snapshot => Start::Snapshot,
    };
    let mut builder = Subscriber::builder()
        .start(start)
        .policy(stream.policy.policy(start, stream.on_loss))
        .stay(stream.stay);
    for membership in memberships {
        builder = builder.path(membership);
    }
    let announced = found.as_ref().map(|found| found.stream);
    if let Some(id) = stream.name.as_deref().map(StreamId::named).or(announced) {
        builder = builder.stream(id);
    }
    if let Some(bytes) = stream.buffer {
        builder = builder.receive_buffer(bytes);
    }
    let subscriber = builder.keys(keys.clone()).build()?;
    let snapshots = found.filter(|_| start == Start::Snapshot).map(|found| Snapshots::new(found, keys));
    Ok((subscriber, snapshots))
}

fn check(stream: &Stream) -> Result<(), Failure> {
    match stream.on_loss {
        Some(_) if stream.policy != Wanted::Reliable => {
            Err(Failure::usage("--on-loss goes with --policy reliable: the others go on behind what is lost"))
        }
        Some(AfterLoss::Snapshot) if stream.from != From::Snapshot => {
            Err(Failure::usage("--on-loss snapshot, and no snapshot to begin with")
                .remedy("add --from snapshot"))
        }
        _ => Ok(()),
    }
}

fn no_name() -> Failure {
    Failure::usage("where snapshots are to be had is announced with the stream's name")
        .remedy("subscribe to the NAME that `mcast publish --announce NAME --snapshot` tells")
}

/// Where it is to be heard, as it was typed.
fn memberships(arguments: &Arguments, console: &Console) -> anyhow::Result<Vec<Membership>> {
    let Arguments { place, paths, interface, sources, families, .. } = arguments;
    let texts: Vec<String> = std::iter::once(place).chain(paths).cloned().collect();
    let chosen = chosen_memberships(&texts, interface.as_slice(), sources, *families, console)?;
    if chosen.items.len() > 4 {
        return Err(Failure::usage(format!(
            "a stream comes on four paths at most, not {}",
            chosen.items.len()
        ))
        .remedy("name single groups, each on one interface")
        .into());
    }
    Ok(chosen.items)
}
