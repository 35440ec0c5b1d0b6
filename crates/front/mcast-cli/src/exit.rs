//! Exit statuses, the mapping from errors to them, and how a failure is printed: what failed, why, and what to do about it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitStatus;

use mcast::ErrorKind;
use mcast::group::WellKnown;
use mcast_doctor::{Instructions, Persistence};
use mcast_stream::publisher::{ConfigError, Refusal};
use mcast_stream::{KeyFileAccessError, StreamError, UnusedSetting};
use mcast_sys::{ClassifiedError, FailureClass};
use mcast_terminal::Console;
use mcast_traffic::TrafficError;
use mcast_watch::live::LiveError;

use crate::words;

/// The exit statuses with their meanings, as help and the manual describe them.
pub const STATUSES: &[(&str, &str)] = &[
    ("0", "success"),
    ("1", "the answer is no (too few datagrams, too much loss, a fault)"),
    ("2", "wrong usage"),
    ("3", "missing permission"),
    ("4", "environment (no such interface, route or file)"),
    ("129", "SIGHUP"),
    ("130", "Ctrl-C"),
    ("143", "SIGTERM"),
];

/// The exit statuses of `mcast doctor` with their meanings, where they say more than [`STATUSES`].
const DOCTOR_STATUSES: &[(&str, &str)] = &[
    ("0", "datagrams arrive; without a group, a program or a path, nothing wrong was found"),
    ("1", "there is a fault, or with --strict a warning"),
    ("3", "undecided because of a missing permission"),
    ("5", "there are warnings, and no fault"),
    ("6", "undecided: something could not be observed"),
];

/// The environment variables that every subcommand reads, with their effects.
pub const VARIABLES: &[(&str, &str)] = &[
    ("NO_COLOR", "disables colours, which otherwise are used on terminals only"),
    ("CLICOLOR_FORCE", "forces colours where standard output is not a terminal"),
    (
        "MCAST_LOG",
        "prints what the libraries record, to standard error: a level (error, warn, info, debug, trace), or levels of crates, for instance `mcast_stream=debug,mcast_relay=info`",
    ),
    (
        "MCAST_CONFIG",
        "the settings file, instead of `~/.config/mcast/config.toml` (in `$XDG_CONFIG_HOME` if that is set, on Windows in `%APPDATA%`); if it is empty, no settings are read",
    ),
    ("COLUMNS", "the width of lines where standard output is not a terminal"),
];

/// Returns the exit statuses of a subcommand with their meanings.
#[must_use]
pub fn statuses_of(subcommand: &str) -> Vec<(&'static str, &'static str)> {
    let mut statuses: BTreeMap<u8, _> = BTreeMap::new();
    let own = if subcommand == "doctor" { DOCTOR_STATUSES } else { &[] };
    for status in STATUSES.iter().chain(own) {
        statuses.insert(status.0.parse().unwrap_or(u8::MAX), *status);
    }
    statuses.into_values().collect()
}

pub(crate) const SUCCESS: u8 = 0;
/// The command ran, and the answer is no.
const NO: u8 = 1;
/// A usage error.
pub(crate) const USAGE: u8 = 2;
/// A permission is missing.
const PERMISSION: u8 = 3;
/// Something in the environment is missing: an interface, a kernel feature, a file.
const ENVIRONMENT: u8 = 4;
/// The doctor found only warnings.
const WARNINGS: u8 = 5;
/// The doctor could not decide.
const UNDECIDED: u8 = 6;

/// The outcome of a subcommand that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Yes,
    /// The command ran, and the answer is no: too few datagrams, too much loss, a fault found.
    No,
    /// The command ran, and the answer is unknown because a permission is missing.
    NotPermitted,
    /// The command ran, and the answer is yes with warnings.
    Warnings,
    /// The command ran, and the answer is unknown.
    Undecided,
    /// A signal ended the command, with its exit status: 130 after Ctrl-C.
    Interrupted(u8),
    /// Another program ran, and ended with this exit status.
    Delegated(u8),
}

impl Outcome {
    /// Returns `Yes` or `No`.
    pub(crate) fn of(answer: bool) -> Self {
        if answer { Self::Yes } else { Self::No }
    }

    /// Returns the outcome of another program, as shells do: a signal counts from 128 on.
    pub(crate) fn of_program(status: ExitStatus) -> Self {
        #[cfg(unix)]
        let status =
            status.code().or_else(|| Some(128 + std::os::unix::process::ExitStatusExt::signal(&status)?));
        #[cfg(not(unix))]
        let status = status.code();
        Self::Delegated(status.and_then(|status| u8::try_from(status).ok()).unwrap_or(u8::MAX))
    }
}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Yes => SUCCESS,
            Outcome::No => NO,
            Outcome::NotPermitted => PERMISSION,
            Outcome::Warnings => WARNINGS,
            Outcome::Undecided => UNDECIDED,
            Outcome::Interrupted(status) | Outcome::Delegated(status) => status,
        }
    }
}

/// A failure that the command itself finds, with its class and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    class: FailureClass,
    message: String,
    remedy: Option<String>,
}

impl Failure {
    pub(crate) fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), remedy: None }
    }

    /// A usage error.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Usage, message)
    }

    /// The command ran, and did not find what was requested.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(FailureClass::No, message)
    }

    /// Something in the environment is missing.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Environment, message)
    }

    /// A permission is missing.
    pub(crate) fn permission(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Permission, message)
    }

    /// Adds a remedy.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

impl ClassifiedError for Failure {
    fn class(&self) -> Option<FailureClass> {
        Some(self.class)
    }

    fn remedy(&self) -> Option<String> {
        self.remedy.clone()
    }
}

/// Returns the exit status for a failure, and its remedy if one is known; `None` for a broken pipe, which is not a
/// failure: the reader stopped reading.
pub(crate) fn judge(error: &anyhow::Error) -> Option<(u8, Option<String>)> {
    let (mut class, mut remedy) = (None, None);
    for cause in error.chain() {
        let Some(classified) = classified(cause) else { continue };
        class = class.or_else(|| classified.class());
        remedy = remedy.or_else(|| option_for(classified)).or_else(|| classified.remedy());
    }
    let status = match class.unwrap_or(FailureClass::Environment) {
        FailureClass::BrokenPipe => return None,
        FailureClass::No => NO,
        FailureClass::Usage => USAGE,
        FailureClass::Permission => PERMISSION,
        FailureClass::Environment => ENVIRONMENT,
    };
    Some((status, remedy.map(name_program)))
}

/// Returns whether the reader of standard output stopped reading.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    judge(error).is_none()
}

/// Returns the remedy for a failure, if one is known.
pub(crate) fn remedy(error: &anyhow::Error) -> Option<String> {
    judge(error)?.1
}

type Classified<'a> = &'a (dyn ClassifiedError + 'static);
type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// Returns the cause as an error with a class; for one that only passes on another, that other one.
fn classified(cause: Cause<'_>) -> Option<Classified<'_>> {
    const TYPES: &[fn(Cause<'_>) -> Option<Classified<'_>>] = &[
        of::<Failure>,
        of::<mcast::Error>,
        of::<mcast::ParseError>,
        of::<mcast_capture::Error>,
        of::<mcast_capture::FileError>,
        of::<mcast_doctor::Error>,
        of::<mcast_fleet::HistoryError>,
        of::<mcast_demo::DemoError>,
        of::<StreamError>,
        of::<mcast_bridge::BridgeError>,
        of::<mcast_log::LogError>,
        of::<LiveError>,
        of::<TrafficError>,
        #[cfg(target_os = "linux")]
        of::<mcast_relay::driver::DriverError>,
        of::<KeyFileAccessError>,
        of::<io::Error>,
    ];
    let found = TYPES.iter().find_map(|of| of(cause))?;
    found.transparent().map_or(Some(found), classified)
}

fn of<T: ClassifiedError + 'static>(cause: Cause<'_>) -> Option<Classified<'_>> {
    cause.downcast_ref::<T>().map(|error| error as _)
}

/// Returns a remedy that names an option of the command, which the library does not know.
fn option_for(error: Classified<'_>) -> Option<String> {
    let error: Cause<'_> = error;
    if let Some(error) = error.downcast_ref::<mcast::ParseError>() {
        return suggested_name(error);
    }
    if error.downcast_ref::<mcast::Error>().is_some_and(|error| error.kind() == ErrorKind::SourceNeeded) {
        return Some(
            "name the source: SOURCE@GROUP:PORT (or `-s SOURCE`); --any-source joins without one, which RFC 4607 does not intend".into(),
        );
    }
    if let Some(error) = error.downcast_ref::<KeyFileAccessError>() {
        return option_for_keys(error).map(Into::into);
    }
    let remedy = match error.downcast_ref::<StreamError>()? {
        StreamError::Refused(Refusal::TooLong { .. }) => {
            "the retransmission buffer must hold all of it: with --history 32M a message may have 16 MiB"
        }
        StreamError::Settings(ConfigError::RetransmissionBuffer(_)) => {
            "the default, --history 8M, holds several thousand"
        }
        StreamError::Settings(ConfigError::OneWayAutoRate) => {
            "give --rate a figure, such as 10Mbit, or remove --flow one-way"
        }
        StreamError::NoEffect(setting) => option_for_unused(*setting)?,
        StreamError::HistoryRate(_) => "use a rate of 8Mbit or more after the address of --serve-history",
        StreamError::LogWithoutStream => NAME_NEEDED,
        StreamError::MixedFamilies => "run one publisher per family, or select a family with -4 or -6",
        _ => return None,
    };
    Some(remedy.into())
}

const NAME_NEEDED: &str = "add --name NAME or --announce NAME";

/// Returns the remedy for a setting without an effect that names the options.
const fn option_for_unused(setting: UnusedSetting) -> Option<&'static str> {
    Some(match setting {
        UnusedSetting::RepairForOthers => {
            "choose a --policy other than best-effort, or remove --repair-for-others"
        }
        UnusedSetting::RepairForOthersBytes(_) => {
            "use --repair-for-others=64K or more; without a size, it is 8M"
        }
        UnusedSetting::History => {
            "add --heal, or a start in the past (--from oldest, without --signed-by); or remove --history-server"
        }
        UnusedSetting::StateFile => NAME_NEEDED,
        UnusedSetting::Eviction => "remove --flow none, or --evict-after and the rate after --rate auto",
        UnusedSetting::FecDelay => "use --fec auto:TIME or --fec K+M:TIME",
        _ => return None,
    })
}

/// Returns the remedy for a key file that names the option which creates one.
fn option_for_keys(error: &KeyFileAccessError) -> Option<&'static str> {
    Some(match error {
        KeyFileAccessError::Read { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => {
                "name an existing key file; `mcast keys make FILE` creates one, with --signing for --sign"
            }
            io::ErrorKind::PermissionDenied => return None,
            _ => "--key needs a file that `mcast keys make FILE` created",
        },
        #[cfg(feature = "seal")]
        KeyFileAccessError::Content { .. } => "`mcast keys make FILE` creates a file with a new secret",
        KeyFileAccessError::Exists(_) => "name another file; `mcast keys show` prints what is in this one",
        _ => return None,
    })
}

/// Names this program in a remedy that grants it a capability.
fn name_program(remedy: String) -> String {
    remedy.replace("PROGRAM", "\"$(command -v mcast)\"")
}

/// Returns a suggestion for a misspelled name.
fn suggested_name(error: &mcast::ParseError) -> Option<String> {
    let text = error.part().unwrap_or_else(|| error.text());
    let (place, _port) = text.rsplit_once(':').unwrap_or((text, ""));
    let text = place.split('%').next()?;
    // With another colon it is a scheme or an address, not a name with a port.
    if text.contains(':') || !text.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return None;
    }
    if let Some(known) = WellKnown::named(text).first() {
        let name = known.name;
        return known.protocol.map(|protocol| {
            format!("`mcast sniff {name}` shows its packets (IP protocol {protocol}); sockets without root receive UDP only")
        });
    }
    if let Some(interface) = words::interface(text) {
        return Some(interface);
    }
    let (_, hint) = words::group(text)?;
    Some(format!("{hint} `mcast explain --names` lists all names"))
}

/// Prints why the command failed, and returns the exit status.
pub(crate) fn print_failure(error: &anyhow::Error, console: &Console) -> u8 {
    let Some((status, remedy)) = judge(error) else {
        return SUCCESS;
    };
    console.error(describe(error));
    let refusal = error.chain().find_map(|cause| cause.downcast_ref::<mcast::Error>());
    match refusal.and_then(explained) {
        Some((cause, remedies)) => {
            console.note(cause);
            remedies.into_iter().for_each(|remedy| console.help(remedy));
        }
        None => remedy.into_iter().for_each(|remedy| console.help(remedy)),
    }
    status
}

/// Returns why this machine refuses to send to a group or to join it, and what to do about it, if its routes and rules explain it.
pub(crate) fn explained(error: &mcast::Error) -> Option<(String, Vec<String>)> {
    let finding = mcast_doctor::explain_error(error)?;
    let remedies = finding.remedies.iter().filter_map(|remedy| match &remedy.instructions {
        // What lasts is in `mcast doctor`, with what it changes.
        Instructions::Actions { .. } if remedy.persistence == Persistence::Permanent => None,
        Instructions::Actions { .. } => Some(format!("`{}`", remedy.command()?)),
        Instructions::Advice(advice) => Some(advice.clone()),
    });
    Some((finding.cause, remedies.collect()))
}

/// Prints a usage error; help and version, which arrive the same way, are data.
pub(crate) fn print_usage_error(error: &clap::Error) -> u8 {
    if error.use_stderr() {
        // clap quotes the standard library's message for a number that does not parse.
        let text =
            error.render().ansi().to_string().replace("invalid digit found in string", "not a whole number");
        let _ = write!(anstream::stderr(), "{text}");
        return USAGE;
    }
    match error.print() {
        // A broken pipe cannot be reported: its reader has gone.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(anstream::stderr(), "error: cannot write to standard output: {error}");
            ENVIRONMENT
        }
        _ => SUCCESS,
    }
}

/// Returns the chain of causes as one line. A cause that is already part of its effect is omitted.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    fn judged(error: impl std::error::Error + Send + Sync + 'static) -> (u8, Option<String>) {
        judge(&anyhow::Error::new(error).context("it failed")).unwrap()
    }

    #[test]
    fn an_error_that_passes_on_another_has_its_status_and_remedy() {
        let missing = || mcast::interface::find(&"no-such-interface".parse().unwrap()).unwrap_err();
        let (status, remedy) = judged(missing());
        assert_eq!(status, ENVIRONMENT);
        assert!(remedy.is_some());
        assert_eq!(judged(mcast_doctor::Error::Multicast(missing())), (status, remedy.clone()));
        assert_eq!(judged(StreamError::Socket(missing())), (status, remedy));
    }

    #[test]
    fn the_class_of_an_error_determines_the_status() {
        assert_eq!(
            judged(mcast_doctor::Error::from(mcast_doctor::HostError::Hidden("x (7)".into()))).0,
            PERMISSION
        );
        assert_eq!(judged(StreamError::NoSuchStream("x".into())), (NO, None));
        assert_eq!(judged(StreamError::MixedFamilies).0, USAGE);
        assert_eq!(judged("mdsn".parse::<mcast::Membership>().unwrap_err()).0, USAGE);
        assert_eq!(judged(io::Error::from(io::ErrorKind::PermissionDenied)), (PERMISSION, None));
    }

    #[test]
    fn a_cause_with_a_class_determines_that_of_an_error_without() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = mcast_doctor::Error::System { what: "a table".into(), source: denied };
        assert_eq!(judged(error).0, PERMISSION);
    }

    #[test]
    fn name_of_a_protocol_without_ports_leads_to_its_packets() {
        for name in ["vrrp", "ospf", "pim", "igmp", "mld", "eigrp"] {
            let error = mcast::group::Expand::default().destinations(name).unwrap_err();
            let (status, remedy) = judged(error);
            assert_eq!(status, USAGE);
            assert!(remedy.unwrap().starts_with(&format!("`mcast sniff {name}`")));
        }
        assert_eq!(judged(mcast::group::Expand::default().destinations("all-hosts").unwrap_err()).1, None);
    }

    #[test]
    fn a_repeated_cause_is_printed_once() {
        let system = io::Error::other("disk on fire");
        let error =
            Err::<(), _>(system).context("cannot read x: disk on fire").context("no data").unwrap_err();
        assert_eq!(describe(&error), "no data: cannot read x: disk on fire");
    }

    #[test]
    fn a_broken_pipe_is_not_a_failure() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert_eq!(judge(&error), None);
    }
}
