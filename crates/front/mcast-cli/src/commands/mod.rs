//! The subcommands, one file or folder each.

mod ask;
mod bridge;
mod discover;
mod doctor;
mod explain;
mod groups;
mod interfaces;
#[cfg(feature = "seal")]
mod keys;
mod lab;
mod log;
mod perf;
mod pick;
mod ping;
mod plan;
mod publish;
mod querier;
mod record;
mod recv;
mod relay;
mod replay;
mod send;
mod sniff;
mod subscribe;
mod top;

pub(crate) use explain::terms as explained_terms;
pub(crate) use lab::{hosts as lab_hosts, hosts_of_this_shell, names as lab_names};

use anyhow::Context;
use clap::Subcommand;
use mcast_terminal::Console;

use crate::exit::Outcome;
use crate::sys;

/// A subcommand with its arguments. The first doc line of each `Arguments` is its summary in help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(mcast_demo::Arguments),
    Interfaces(interfaces::Arguments),
    Groups(groups::Arguments),
    Sniff(sniff::Arguments),
    Top(top::Arguments),
    Discover(discover::Arguments),
    Explain(explain::Arguments),
    Pick(pick::Arguments),
    Plan(plan::Arguments),
    Send(send::Arguments),
    Recv(recv::Arguments),
    Ask(ask::Arguments),
    Publish(publish::Arguments),
    Subscribe(subscribe::Arguments),
    Doctor(doctor::Arguments),
    Ping(ping::Arguments),
    Perf(perf::Arguments),
    Record(record::Arguments),
    Querier(querier::Arguments),
    Relay(relay::Arguments),
    Bridge(bridge::Arguments),
    Replay(replay::Arguments),
    Log(log::Arguments),
    #[cfg(feature = "seal")]
    #[command(subcommand)]
    Keys(keys::Arguments),
    Lab(lab::Arguments),
}

/// What a subcommand does while nobody reads its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnreadOutput {
    /// It waits.
    Waits,
    /// It waits with its data, on standard output, and with nothing else.
    HoldsData,
    /// It continues what its output is about.
    Continues,
}

impl Command {
    /// Returns what it does while nobody reads its output. In a lab it may not start a thread before it has entered that.
    fn unread_output(&self) -> UnreadOutput {
        let continues = |is_watching| if is_watching { UnreadOutput::Continues } else { UnreadOutput::Waits };
        match self {
            Self::Publish(_) | Self::Record(_) | Self::Querier(_) | Self::Perf(_) => UnreadOutput::Continues,
            Self::Relay(arguments) => continues(!arguments.only_checks()),
            Self::Bridge(arguments) => continues(!arguments.only_checks()),
            Self::Doctor(arguments) => continues(arguments.watches()),
            Self::Top(arguments) if arguments.reports_live() => UnreadOutput::Continues,
            Self::Discover(arguments) if arguments.reports_live() => UnreadOutput::Continues,
            Self::Top(_)
            | Self::Discover(_)
            | Self::Interfaces(_)
            | Self::Groups(_)
            | Self::Sniff(_)
            | Self::Send(_)
            | Self::Recv(_)
            | Self::Ask(_)
            | Self::Subscribe(_)
            | Self::Ping(_)
            | Self::Replay(_) => UnreadOutput::HoldsData,
            Self::Demo(_)
            | Self::Explain(_)
            | Self::Pick(_)
            | Self::Plan(_)
            | Self::Log(_)
            | Self::Lab(_) => UnreadOutput::Waits,
            #[cfg(feature = "seal")]
            Self::Keys(_) => UnreadOutput::Waits,
        }
    }
}

/// Runs a subcommand. No thread has been started before.
pub(crate) fn run(command: &Command, console: &Console) -> anyhow::Result<Outcome> {
    // Who writes needs no rights.
    let drop_rights = || sys::keep_capabilities(&[]);
    let detached = match command.unread_output() {
        UnreadOutput::Waits => Ok(()),
        UnreadOutput::HoldsData => console.detach_notes(drop_rights),
        UnreadOutput::Continues => console.detach(drop_rights),
    };
    detached.context("cannot start the thread that writes the output")?;
    match command {
        Command::Demo(arguments) => Ok(Outcome::of(mcast_demo::run(arguments, console, "mcast")?)),
        Command::Interfaces(arguments) => interfaces::run(arguments, console),
        Command::Groups(arguments) => groups::run(arguments, console),
        Command::Sniff(arguments) => arguments.limits.judge_reader(sniff::run(arguments, console)),
        Command::Top(arguments) => top::run(arguments, console),
        Command::Discover(arguments) => discover::run(arguments, console),
        Command::Explain(arguments) => explain::run(arguments, console),
        Command::Pick(arguments) => pick::run(arguments, console),
        Command::Plan(arguments) => plan::run(arguments, console),
        Command::Send(arguments) => send::run(arguments, console),
        Command::Recv(arguments) => arguments.limits.judge_reader(recv::run(arguments, console)),
        Command::Ask(arguments) => ask::run(arguments, console),
        Command::Publish(arguments) => publish::run(arguments, console),
        Command::Subscribe(arguments) => arguments.limits.judge_reader(subscribe::run(arguments, console)),
        Command::Doctor(arguments) => doctor::run(arguments, console),
        Command::Ping(arguments) => ping::run(arguments, console),
        Command::Perf(arguments) => perf::run(arguments, console),
        Command::Querier(arguments) => querier::run(arguments, console),
        Command::Relay(arguments) => relay::run(arguments, console),
        Command::Bridge(arguments) => bridge::run(arguments, console),
        Command::Record(arguments) => record::run(arguments, console),
        Command::Replay(arguments) => replay::run(arguments, console),
        Command::Log(arguments) => log::run(arguments, console),
        #[cfg(feature = "seal")]
        Command::Keys(arguments) => keys::run(arguments, console),
        Command::Lab(arguments) => lab::run(arguments, console),
    }
}

/// The schemas of the records that subcommands write.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<mcast_json::RecordSchema> {
    let schemas = [
        ask::schemas(),
        bridge::schemas(),
        discover::schemas(),
        doctor::schemas(),
        explain::schemas(),
        groups::schemas(),
        interfaces::schemas(),
        keys::schemas(),
        #[cfg(target_os = "linux")]
        lab::schemas(),
        log::schemas(),
        crate::message_layer::schemas(),
        perf::schemas(),
        pick::schemas(),
        ping::schemas(),
        plan::schemas(),
        publish::schemas(),
        querier::schemas(),
        crate::receiving::schemas(),
        record::schemas(),
        recv::schemas(),
        #[cfg(target_os = "linux")]
        relay::schemas(),
        replay::schemas(),
        send::schemas(),
        crate::settings::schemas(),
        subscribe::schemas(),
        mcast_demo::schemas(),
        mcast_relay::http::schemas(),
        mcast_watch::live::MonitorReport::schemas(),
        vec![mcast_watch::live::PacketRecord::schema(), mcast_watch::live::PacketSummaryRecord::schema()],
    ];
    schemas.concat()
}
