//! `mcast subscribe`: receives all messages of a stream in order, and reports losses.

mod confirmations;
mod listen;
mod output_worker;
mod policy;

#[cfg(feature = "schema")]
pub(super) use output_worker::schemas;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use mcast::{HostAddr, InterfaceSelector};
use mcast_metrics::ExporterAddress;
#[cfg(feature = "seal")]
use mcast_stream::AnnouncedStream;
use mcast_stream::history::HistoryStart;
use mcast_stream::seal::Keys;
#[cfg(feature = "seal")]
use mcast_stream::sign::{PinnedKeys, PublicKey, SigningKeyError};
use mcast_stream::subscriber::OnLoss;
use mcast_stream::wire::{StreamId, SubscriberName};
use mcast_stream::{SnapshotFetcher, Subscriber, SubscriberBuilder};
use mcast_terminal::Console;

use crate::arguments::{
    Admission, BroadcastOption, KeyFile, Limits, WireOption, hide, is_stream_name, parse_size,
};
#[cfg(feature = "seal")]
use crate::arguments::{PublicKeys, SignedBy};
use crate::exit::{Failure, Outcome};
use crate::receiving::{StreamPlace, check_hosts, locate_stream};
use crate::sys::{self, OutputKind};
use listen::Listener;
use output_worker::Processing;
use policy::{From, PolicyArgument, ResumeFile, Stored};

/// Receive all messages of a stream
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_args(|option| hide(option, HIDDEN)))]
#[command(mut_arg("count", |option| option.help("Stop after N messages")))]
#[command(mut_arg("expect", |option| option.help("Exit status 1 if fewer than N messages arrived; 0 requires none")))]
#[command(mut_arg("max_loss", |option| option.help(MAX_LOSS)))]
pub(crate) struct Arguments {
    /// Where the stream is published: `[SOURCE@]GROUP[%INTERFACE]:PORT`, a URL or a session description; or the name
    /// that its publisher announces; or, without multicast, an address of this host (`0.0.0.0:7000`)
    #[arg(value_name = "MEMBERSHIP|NAME")]
    place: String,

    /// Also receive on this membership (redundant path) and keep the first copy; repeatable
    #[arg(long = "path", value_name = "MEMBERSHIP")]
    paths: Vec<String>,

    /// Join on this interface: a name, index or address [default: all that are up and can multicast]
    #[arg(short, long, value_name = "INTERFACE")]
    interface: Option<InterfaceSelector>,

    #[command(flatten)]
    broadcast: BroadcastOption,

    #[command(flatten)]
    admission: Admission,

    #[command(flatten)]
    stream: StreamOptions,

    #[command(flatten)]
    pub(super) limits: Limits,

    #[command(flatten)]
    show: SubscribeOutput,
}

/// Options of the stream.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which messages")]
struct StreamOptions {
    /// Only the stream with this name [default: the first that is received]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Name of this subscriber, for `publish --ack`; any member of the group can claim it
    #[arg(long = "as", value_name = "NAME")]
    own_name: Option<SubscriberName>,

    /// Where to start: `now`, at the `oldest` message available, with a message NUMBER, at a TIME
    /// (`2026-11-22T09:30:00Z`, or `24h` ago), or with a `snapshot` of the state
    ///
    /// Any host can announce a snapshot of an unsealed stream: `snapshot:SIZE` sets the largest to accept, otherwise 64M.
    #[arg(long, value_name = "WHERE", default_value = "now", value_parser = policy::parse_from)]
    from: From,

    /// Store the position in this file, and continue there, with a history if necessary; --from applies only while FILE
    /// does not exist
    ///
    /// The position follows the messages that were processed: with --exec, --confirm, or written to a file or a
    /// terminal. After a crash, messages processed since the last write are delivered again.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,

    /// Fetch messages that the publisher can no longer repair from a history, before reporting them as lost
    #[arg(long)]
    heal: bool,

    /// Read the history from the server at this TCP address (see `--serve-history` of publish and bridge) instead of an
    /// announced one; repeatable
    #[arg(long = "history-server", value_name = "ADDRESS:PORT")]
    history_servers: Vec<SocketAddr>,

    /// How to handle gaps: `reliable`, `deadline=50ms`, `best-effort` or `latest`; see below
    #[arg(long, value_name = "POLICY", default_value = "reliable", value_parser = policy::parse_policy)]
    policy: PolicyArgument,

    /// Open sealed streams with the secrets in this file; SIGHUP rereads it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Deliver only messages signed with this public key: `ed25519:...`, or a file with one per line, which SIGHUP
    /// rereads; `mcast keys show` prints it. Or `announced`: trust the first key announced for NAME (not authenticated)
    #[cfg(feature = "seal")]
    #[arg(long, value_name = "FILE|KEY|announced")]
    signed_by: Option<TrustedKeys>,

    /// Repair for other subscribers, to relieve the publisher: retain SIZE of the stream (`--repair-for-others=64M`),
    /// and answer their NAKs [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, num_args = 0..=1, require_equals = true, default_missing_value = "8M")]
    repair_for_others: Option<usize>,

    /// Request a receive buffer of SIZE [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    buffer: Option<usize>,

    #[command(flatten)]
    wire: WireOption,

    /// Busy-poll: shorter delays, but uses a whole processor
    #[arg(long, hide_short_help = true)]
    spin: bool,

    /// When the stream has ended, wait for its publisher to start again
    #[arg(long)]
    stay: bool,
}

/// What to do with the messages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct SubscribeOutput {
    /// Print messages as `lines`; `raw`, without line ends; or as `records`: a 4-byte big-endian length, then the message
    /// [default: lines]
    #[arg(long, value_name = "FORM", hide_possible_values = true, conflicts_with_all = ["exec", "json"])]
    output: Option<OutputForm>,

    /// Print one JSON object per message and per event, and a summary
    #[arg(long)]
    json: bool,

    /// Serve Prometheus metrics at http://ADDRESS/metrics, and its health at /live and /ready
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<ExporterAddress>,

    /// Count a message as processed, for --resume and `publish --ack WHO:processed`, when the reader has confirmed it
    /// on file descriptor FD: each line is the number of a message, which includes all before it, or empty, for the
    /// next one. Or as soon as it is written to a `pipe`: messages in the pipe are lost if its reader crashes
    #[arg(long, value_name = "FD|pipe", conflicts_with = "exec")]
    confirm: Option<Confirmation>,

    /// Run this shell command per message, one after the other, with the message as standard input, and MCAST_STREAM,
    /// MCAST_SEQUENCE and MCAST_LENGTH in the environment, for a snapshot MCAST_SNAPSHOT=1
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
}

/// The value of `--signed-by`.
#[cfg(feature = "seal")]
#[derive(Clone, Debug)]
enum TrustedKeys {
    Announced,
    Given(SignedBy),
}

#[cfg(feature = "seal")]
impl FromStr for TrustedKeys {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<Self, SigningKeyError> {
        match text {
            "announced" => Ok(Self::Announced),
            _ => text.parse().map(Self::Given),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OutputForm {
    Lines,
    Raw,
    Records,
}

/// When a message counts as processed that is written to a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmation {
    /// When its reader confirms it on this file descriptor.
    Descriptor(u32),
    HandedOver,
}

impl FromStr for Confirmation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Standard output and standard error are written.
        match (text, text.parse()) {
            ("pipe", _) => Ok(Self::HandedOver),
            (_, Ok(number)) if !matches!(number, 1 | 2) => Ok(Self::Descriptor(number)),
            _ => Err(
                "write the number of a descriptor that this command is started with, such as 3 (with `3<FIFO`), or pipe",
            ),
        }
    }
}

impl SubscribeOutput {
    /// Opens the descriptor on which the reader confirms messages.
    fn confirming(&self) -> Result<Option<File>, Failure> {
        let Some(Confirmation::Descriptor(number)) = self.confirm else { return Ok(None) };
        sys::open_inherited(number).map(Some).map_err(|error| {
            Failure::usage(format!("descriptor {number} cannot be read: {error}")).remedy(
                "open it in the shell: mkfifo confirmations; mcast subscribe ... --confirm 3 3<confirmations",
            )
        })
    }

    /// Returns when a message counts as processed that is written.
    fn processing(&self, confirming: Option<File>, resume: Option<&Path>) -> anyhow::Result<Processing> {
        if let Some(file) = confirming {
            return Ok(Processing::Confirmed(file));
        }
        Ok(match sys::output_kind() {
            OutputKind::File => Processing::Synced(sys::standard_output()?),
            OutputKind::Device => Processing::Written,
            OutputKind::Pipe if self.confirm.is_some() => Processing::Written,
            OutputKind::Pipe if resume.is_some() && self.exec.is_none() => return Err(handed_over().into()),
            OutputKind::Pipe => Processing::HandedOver,
        })
    }
}

/// How long it polls before it sleeps: longer than it waits between two checks.
const SPIN: Duration = Duration::from_secs(1);
/// The help of `--max-loss`, which here is about messages and not about drops of this machine.
const MAX_LOSS: &str =
    "Exit status 1 if more than PERCENT of the messages were lost, such as 0.1% [default: if any were]";

const EXAMPLES: &str = "\
Each message is printed as a line. The command ends when the publisher closes the stream. Lost
messages are reported; exit status 1 if there are any. With --json, the field `event` is `message`, the name of an event, or in the last object `summary`.

Policies:
  reliable        wait until every gap is repaired; report what cannot be repaired (default); then, with
                  reliable:stop, stop; with reliable:snapshot, the default with --from snapshot, fetch a new one;
                  with reliable:continue, the default otherwise, continue with the next message
  deadline=TIME   wait at most TIME for a repair, then report what is missing and continue
  best-effort     request no repairs: report what is missing and continue immediately
  latest          deliver only the latest message of each key

With --from oldest, a number or a time, messages that the publisher no longer retains come from a
history: the publisher's log (`mcast publish --log DIR --serve-history ADDRESS:PORT`), or a broker
(`mcast bridge NAME to BROKER --serve-history ADDRESS:PORT`). Then the live stream follows without a
gap. Messages that the history does not have are reported as lost. Messages are numbered from the start
of the publisher, or of its log. Name a history that is not announced with --history-server
ADDRESS:PORT, also for --heal.

-s SOURCE admits only this source, like SOURCE@ before the group. -4 and -6 select the family of a name. With
--broadcast, IPv4 broadcasts replace the group: PORT on this link, or ADDRESS:PORT with the last address of a subnet. For
speed, --buffer, --spin and --wire are those of `mcast perf recv`.

Examples:
  mcast subscribe 239.255.1.2:7000                          until the stream ends
  mcast subscribe prices                                    the stream announced as prices
  mcast subscribe prices --from snapshot                    first the state, then the updates
  mcast subscribe 239.255.1.2:7000 --from oldest -c 10      ten messages, starting with the oldest
  mcast subscribe prices --from 24h                         the history of a day, then the stream
  mcast subscribe prices --resume position --exec ./store   continue at the position, also after a crash
  mcast subscribe prices --resume position --confirm 3 3<done | ./store >done    the same; done is a FIFO
  mcast subscribe prices --heal                             fetch from history what can no longer be repaired
  mcast subscribe 239.255.1.2:7000 --repair-for-others      also repair for others on this network
  mcast subscribe 239.255.1.2:7000 --key prices.key --json  sealed; for programs
  mcast subscribe 239.255.1.2:7000 --signed-by publisher.pub  only what its publisher has signed
  mcast subscribe 239.255.1.1%eth0:7000 --path 239.255.1.2%eth1:7000   on two networks (redundant paths)
  mcast subscribe 239.255.1.2:7000 --policy deadline=50ms   skip messages that are not repaired within 50 ms
  mcast subscribe 239.255.1.2:7000 --exec 'jq .price'       one command per message
  mcast subscribe 0.0.0.0:7000                              published to this host, without multicast";

/// The options that the notes describe; scripts, tests and benchmarks use them.
const HIDDEN: &[&str] = &["broadcast", "buffer", "history_servers", "sources", "spin", "v4", "v6", "wire"];

/// What to receive, and what to do with it.
#[derive(Debug)]
struct SubscribePlan<'a> {
    builder: SubscriberBuilder,
    /// The fetcher of snapshots, if they are used.
    snapshots: Option<SnapshotFetcher>,
    resume: Option<ResumeFile>,
    processing: Processing,
    limits: &'a Limits,
    show: &'a SubscribeOutput,
    follows_restarts: bool,
    /// The stream that was selected; otherwise, the first one is followed.
    selected: Option<StreamId>,
    repairs_for_others: bool,
    /// The addresses to listen at.
    hosts: Vec<HostAddr>,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    // Before anything is opened that could get this number.
    let confirming = arguments.show.confirming()?;
    // Before anything that takes time, so that SIGHUP does not end the process meanwhile.
    let key_file = arguments.stream.key.as_deref().map(KeyFile::watch).transpose()?;
    let keys = key_file.as_ref().map(|file| file.read(console)).transpose()?.unwrap_or_default();
    #[cfg(feature = "seal")]
    let public_keys = arguments.stream.given_keys().map(PublicKeys::watch).transpose()?;
    let plan = arguments.plan(keys, confirming, console)?;
    let listener = Listener::open(plan, key_file, begun, console)?;
    #[cfg(feature = "seal")]
    let listener = listener.rereading(public_keys);
    listener.run()
}

impl Arguments {
    fn plan(
        &self,
        keys: Keys,
        confirming: Option<File>,
        console: &Console,
    ) -> anyhow::Result<SubscribePlan<'_>> {
        let stream = &self.stream;
        check(stream, confirming.is_some())?;
        let resume = stream.resume.as_deref().map(ResumeFile::open).transpose()?;
        let processing = self.show.processing(confirming, stream.resume.as_deref())?;
        let reached = resume.as_ref().and_then(ResumeFile::stored);
        let builder = stream.builder(keys.clone(), reached);
        // Finding the stream may take time.
        builder.check()?;
        if stream.from.is_snapshot() && !is_stream_name(&self.place) {
            return Err(no_name().into());
        }
        #[cfg(feature = "seal")]
        let pinned = stream.given_keys().map(SignedBy::read).transpose()?;
        let place = StreamPlace {
            place: &self.place,
            paths: &self.paths,
            interface: self.interface.as_ref(),
            broadcast: self.broadcast,
            admission: &self.admission,
            timeout: self.limits.timeout,
            #[cfg(feature = "seal")]
            signed_by: pinned.as_ref(),
        };
        let (found, ways) = locate_stream(place, &keys, console)?;
        #[cfg(feature = "seal")]
        let builder = builder.signed_by(self.pinned(pinned.unwrap_or_default(), found.as_ref(), console)?);
        check_hosts(stream.wire.policy(), &ways.hosts, console)?;
        let mut builder = ways.add_to(builder);
        let id =
            stream.name.as_deref().map(StreamId::named).or_else(|| found.as_ref().map(|found| found.stream));
        if let (Some(path), Some(id), Some(Stored { stream: of, .. })) = (&stream.resume, id, reached)
            && id != of
        {
            return Err(Failure::usage(format!("{} belongs to stream {of}, not to {id}", path.display()))
                .remedy("use one file for each stream")
                .into());
        }
        let id = id.or_else(|| reached.map(|stored| stored.stream));
        builder = id.into_iter().fold(builder, SubscriberBuilder::stream);
        let limit = stream.from.largest_snapshot();
        let fetcher = |found| SnapshotFetcher::new(found, keys).max_size(limit as u64);
        Ok(SubscribePlan {
            builder,
            snapshots: found.filter(|_| stream.from.is_snapshot()).map(fetcher),
            resume,
            processing,
            limits: &self.limits,
            show: &self.show,
            follows_restarts: stream.stay,
            selected: id,
            repairs_for_others: stream.repair_for_others.is_some(),
            hosts: ways.hosts,
        })
    }
}

impl StreamOptions {
    /// Returns the settings that do not depend on where the stream is; `reached` is where to continue.
    fn builder(&self, keys: Keys, reached: Option<Stored>) -> SubscriberBuilder {
        let policy = self.policy.policy(self.from.start());
        let builder = Subscriber::builder()
            .policy(policy)
            .follow_restarts(self.stay)
            .keys(keys)
            .heal(self.heal)
            .wire(self.wire.policy());
        let is_verifying = self.is_verifying();
        let builder = match reached {
            Some(Stored { reached, since, .. }) => {
                builder.history_from(HistoryStart::At(reached)).processed_since(since)
            }
            None => self.from.apply(builder, self.policy, is_verifying),
        };
        // The next start with the file uses them.
        let is_first = self.resume.is_some() && reached.is_none();
        let uses_no_history = !self.heal && !self.from.uses_history(self.policy, is_verifying);
        let servers = if is_first && uses_no_history { &[][..] } else { &self.history_servers };
        let builder = servers.iter().copied().fold(builder, SubscriberBuilder::history_server);
        let builder = self.own_name.into_iter().fold(builder, SubscriberBuilder::name);
        let builder = self.repair_for_others.into_iter().fold(builder, SubscriberBuilder::repair_for_others);
        let builder = self.buffer.into_iter().fold(builder, SubscriberBuilder::receive_buffer);
        if self.spin { builder.spin(SPIN) } else { builder }
    }

    /// Whether only what is signed is delivered.
    fn is_verifying(&self) -> bool {
        #[cfg(feature = "seal")]
        return self.signed_by.is_some();
        #[cfg(not(feature = "seal"))]
        false
    }

    /// Returns the keys that are trusted, unless it is the one that is announced.
    #[cfg(feature = "seal")]
    const fn given_keys(&self) -> Option<&SignedBy> {
        match &self.signed_by {
            Some(TrustedKeys::Given(keys)) => Some(keys),
            Some(TrustedKeys::Announced) | None => None,
        }
    }
}

#[cfg(feature = "seal")]
impl Arguments {
    /// Returns the public keys that are trusted: with `--signed-by announced`, the one that was announced.
    fn pinned(
        &self,
        pinned: PinnedKeys,
        found: Option<&AnnouncedStream>,
        console: &Console,
    ) -> anyhow::Result<PinnedKeys> {
        if !matches!(self.stream.signed_by, Some(TrustedKeys::Announced)) {
            return Ok(pinned);
        }
        let Some(found) = found else {
            return Err(Failure::usage("a public key is announced with the name of a stream")
                .remedy("subscribe to a NAME, or give the key: --signed-by KEY")
                .into());
        };
        let Some(key) = found.public_key.map(PublicKey::new) else {
            return Err(Failure::no(format!("\"{}\" is announced without a public key", found.name))
                .remedy("start its publisher with --sign")
                .into());
        };
        console.note(format_args!("trusting {key}, which only its announcement confirms"));
        Ok(key.pinned())
    }
}

fn check(stream: &StreamOptions, is_confirmed: bool) -> Result<(), Failure> {
    let is_snapshot = stream.from.is_snapshot();
    let is_latest = stream.policy == PolicyArgument::Latest;
    match stream.policy {
        _ if is_confirmed && (is_latest || is_snapshot) => Err(Failure::usage(
            "--confirm needs all messages in order, without --policy latest and snapshots",
        )),
        _ if stream.resume.is_some() && (is_latest || is_snapshot) => {
            Err(Failure::usage("--resume needs all messages in order, without --policy latest and snapshots"))
        }
        _ if stream.heal && (is_latest || is_snapshot) => {
            Err(Failure::usage("--heal needs all messages in order, without --policy latest and snapshots"))
        }
        _ if matches!(stream.from, From::Number(_) | From::Time(_)) && is_latest => Err(Failure::usage(
            "--from with a number or a time needs all messages in order, without --policy latest",
        )),
        PolicyArgument::Reliable(Some(OnLoss::Snapshot)) if !is_snapshot => {
            Err(Failure::usage("--policy reliable:snapshot needs --from snapshot")
                .remedy("add --from snapshot"))
        }
        _ => Ok(()),
    }
}

fn handed_over() -> Failure {
    Failure::usage(
        "--resume stores which messages were processed, but standard output is a pipe: messages are only written to it, and those in the pipe are lost if its reader crashes",
    )
    .remedy(
        "let the reader confirm messages (--confirm FD), run a command per message (--exec), write to a file (>> FILE), or \
         accept that loss (--confirm pipe)",
    )
}

fn no_name() -> Failure {
    Failure::usage("the address of snapshots is announced with the name of the stream")
        .remedy("subscribe to the NAME that `mcast publish --announce NAME --snapshot` announces")
}
