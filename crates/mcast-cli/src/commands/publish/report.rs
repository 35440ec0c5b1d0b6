//! The closing report: what was published, what had to be repaired, who has it.

use std::time::Duration;

use mcast_stream::Closing;
use mcast_stream::wire::StreamId;
use serde::Serialize;

use super::audience::{Audience, State};
use crate::console::Console;
use crate::message_layer::Repairs;
use crate::output::{bits_per_second, bytes, count, count_of, seconds, write_json};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    stream: String,
    messages: u64,
    bytes: u64,
    seconds: f64,
    datagrams: u64,
    repairs: Repairs,
    receivers: Vec<Member>,
    #[serde(skip)]
    time: Duration,
    #[serde(skip)]
    complete: usize,
}

#[derive(Debug, Serialize)]
struct Member {
    receiver: String,
    address: String,
    state: &'static str,
    missing: u64,
}

impl Report {
    pub(super) fn new(stream: StreamId, closing: &Closing, audience: &Audience, time: Duration) -> Self {
        let statistics = &closing.statistics;
        let member = |(receiver, member): (&_, &super::audience::Member)| Member {
            receiver: ToString::to_string(receiver),
            address: member.address.to_string(),
            state: member.state.name(),
            missing: member.missing,
        };
        Self {
            stream: stream.to_string(),
            messages: statistics.messages,
            bytes: statistics.message_bytes,
            seconds: time.as_secs_f64(),
            datagrams: statistics.datagrams,
            repairs: Repairs::of(statistics),
            receivers: audience.members().map(member).collect(),
            time,
            complete: audience.count(State::Follows),
        }
    }

    pub(super) fn tell(&self, json: bool, console: &Console) -> anyhow::Result<()> {
        use std::io::Write;

        if json {
            let mut out = console.output();
            write_json(&mut out, self)?;
            out.flush()?;
        }
        let rate =
            bits_per_second(self.bytes, self.time).map(|rate| format!(" ({rate})")).unwrap_or_default();
        console.note(format_args!(
            "published {}, {} in {}{rate}; repaired {}",
            count_of(self.messages, "message"),
            bytes(self.bytes),
            seconds(self.time),
            count_of(self.repairs.count(), "datagram"),
        ));
        match (self.receivers.len(), self.complete) {
            (0, _) => console.note("nobody listened who tells"),
            (all, complete) => console.note(format_args!(
                "everything is with {} of {}",
                count(complete as u64),
                count_of(all as u64, "receiver")
            )),
        }
        for member in self.receivers.iter().filter(|member| member.state != State::Follows.name()) {
            let missing = match member.missing {
                0 => String::new(),
                missing => format!(", {} short", count_of(missing, "datagram")),
            };
            console.note(format_args!("  {}  {}{missing}", member.address, member.state));
        }
        Ok(())
    }
}
