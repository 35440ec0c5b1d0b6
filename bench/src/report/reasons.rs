//! Why what was promised and is missed is missed, as far as is known.

use std::fmt::Write;

use super::goals::{Goal, Verdict};

/// A reason, for the promises that begin so in the tables that begin so.
struct Reason {
    promise: &'static str,
    table: &'static str,
    why: &'static str,
}

const REASONS: &[Reason] = &[
    Reason {
        promise: "`recv` no slower than std::net::UdpSocket with the same options",
        table: "receive-",
        why: "`recv` hands out hop limit, traffic class, time and loss; `std` has the kernel prepare the same and \
              leaves it there. To copy it out takes a third of the call: hand-written C that reads it (`c-plain`) \
              is as far behind `std-options`. It shows on (a), where trains fill the buffer faster than single \
              calls empty it, so that nothing but the call is measured. Whoever reads none of it says so \
              (`ReceiverBuilder::details`): that is `mcast-lean`.",
    },
    Reason {
        promise: "`mcast-batches`, sending",
        table: "send-",
        why: "A train of 128 small datagrams is one message to the kernel, but 128 values of `Outgoing` to us, each \
              of which may go elsewhere: they are looked at one by one. The C reference \
              has one buffer and does not look.",
    },
    Reason {
        promise: "`mcast perf --latency`, spinning",
        table: "latency",
        why: "Both ends of `mcast perf` check what they get: the receiver that a ping carries the token that proves \
              where it is from, the sender that the pong is the one that it waits for, so that both can be left open \
              to the world; sockperf reflects what comes. Inferred from the code, not from a profile: at a look at \
              the error queue less for each look at the socket, and with fewer control messages, it went from 1.26 \
              to this.",
    },
    Reason {
        promise: "`mcast perf --latency`, blocking",
        table: "latency",
        why: "The library itself (`mcast-blocking`) is where C is; the command adds some 8 µs at the median, which \
              spinning it does not. It was not found where: presumably more code runs cold after the processor has \
              slept.",
    },
    Reason {
        promise: "100 joined",
        table: "groups-v6",
        why: "Linux walks an IPv6 interface's whole list of groups for every datagram, before any socket is looked \
              at: that is the growth in the sender's column, which walks the receiving stack. What grows in the \
              program's, when traffic is spread, are the calls: each IPv6 group has a socket of its own, so that \
              a call finds fewer datagrams.",
    },
    Reason {
        promise: "messages without loss, at least 0.75",
        table: "messages-plain",
        why: "`mcast perf` sends the same bytes over and over, which nobody writes or reads. Where a stream goes by `publish_all`, by a profile of the sender's processor \
              (19 Gbit/s while it was taken), 37 % is the kernel's copy out of the history, 11 % waking the receiver, which is faster \
              than its sender and waits for every train, 8 % the stream's own code with its copy of the message; \
              the threads that listen and keep time had 4 to 14 %. With `queue`, a lock and a look at the clock for each \
              message come on top. A history of 1 or 2 MiB was no faster than one of 8. \
              A receiver that sleeps for a moment before it waits would spare the waking, and delay what comes \
              meanwhile: it was not done.",
    },
    Reason {
        promise: "messages at 5 % loss",
        table: "messages-lossy-",
        why: "Each receiver loses others: of every datagram that is sent once, a fifth is missed by one of four and a third \
              by one of eight, and is sent again to each that asks. The sender's processor, which walks every copy \
              through all receiving stacks, is what limits. By a profile with four receivers, repairs to single ones took \
              12 % of the time that new data took while each was a call of its own, and take 8 to 9 % since they go as trains: \
              each is one and a half times what one more receiver of new data costs. To take what receivers ask is \
              1 %.",
    },
    Reason {
        promise: "Python, sending one datagram a call by `send`",
        table: "python-",
        why: "Some four fifths of a `send` are the kernel's: a datagram's walk through the stack. A plain `sendto` of \
              Python's own socket does no better than multicast_expert either, so no call that sends one datagram at \
              once can be twice as fast. What is: `Sender.writer`, to which a program still hands one datagram a \
              call, and which sends them in batches.",
    },
];

/// Writes the reasons for what is missed, each once.
pub(super) fn write(text: &mut String, goals: &[Goal]) {
    let missed: Vec<_> = goals.iter().filter(|goal| goal.verdict == Verdict::Missed).collect();
    let mut unexplained: Vec<&str> = Vec::new();
    if missed.is_empty() {
        return;
    }
    text.push_str("\nWhy what is missed is missed:\n\n");
    for reason in REASONS {
        let explained: Vec<_> = missed.iter().filter(|goal| reason.is_for(goal)).collect();
        if let Some(first) = explained.first() {
            let tables: Vec<_> = explained.iter().map(|goal| goal.table.as_str()).collect();
            let _ = writeln!(text, "- {} ({}). {}", first.promise, tables.join(", "), reason.why);
        }
    }
    for goal in missed {
        if !REASONS.iter().any(|reason| reason.is_for(goal)) && !unexplained.contains(&goal.promise.as_str())
        {
            unexplained.push(&goal.promise);
            let _ = writeln!(text, "- {}: not explained yet.", goal.promise);
        }
    }
}

impl Reason {
    fn is_for(&self, goal: &Goal) -> bool {
        goal.promise.starts_with(self.promise) && goal.table.starts_with(self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(promise: &str, table: &str, verdict: Verdict) -> Goal {
        Goal { promise: promise.to_owned(), table: table.to_owned(), measured: "0.9".to_owned(), verdict }
    }

    #[test]
    fn only_what_is_missed_is_explained_and_what_is_not_says_so() {
        let promise = "`recv` no slower than std::net::UdpSocket with the same options";
        let mut text = String::new();

        write(&mut text, &[goal(promise, "receive-b-64", Verdict::Met)]);
        assert_eq!(text, "");

        let missed = [
            goal(promise, "receive-a-64", Verdict::Missed),
            goal(promise, "receive-a-1400", Verdict::Missed),
            goal("faster than light", "latency", Verdict::Missed),
        ];
        write(&mut text, &missed);
        assert_eq!(text.matches("(receive-a-64, receive-a-1400). `recv` hands out").count(), 1, "{text}");
        assert!(text.contains("- faster than light: not explained yet."), "{text}");
    }
}
