//! Explanations of missed goals, as far as they are known.

use std::fmt::Write;

use super::goals::{Goal, Verdict};

/// A reason, for goals and tables with these prefixes.
struct Reason {
    promise: &'static str,
    table: &'static str,
    why: &'static str,
}

const REASONS: &[Reason] = &[
    Reason {
        promise: "`mcast relay`, 8 clients of one group: at most 8 MB resident",
        table: "http-",
        why: "`smaps` of the relay beside this table: 7.2 MB are code of the command (of 17.3 MB), 1.9 MB its constants, 1.9 MB code \
              and constants of libraries, 1.5 MB heap. The kernel maps code in pieces of 64 KiB around each page that is used, \
              and shares it with all other processes of the command.",
    },
    Reason {
        promise: "`mcast relay`, 8 clients of 8 groups: at most 8 MB resident",
        table: "http-",
        why: "As with one group.",
    },
    Reason {
        promise: "`mcast relay`, 8 clients of one group: processor time within 1.2 of C that also writes every 4 ms",
        table: "http-same",
        why: "The same code as with 8 groups; all datagrams come from one socket.",
    },
    Reason {
        promise: "`mcast relay`, 8 clients of 8 groups: processor time within 1.2 of C that also writes every 4 ms",
        table: "http-different",
        why: "Profiles of both (`perf record -p` and `strace -c` beside this table): writing costs nearly the same, with 8 calls of \
              `writev` in 4 ms. C receives with 8 calls of `recvmmsg` in that time, and the relay with 39 and 25 of `epoll_wait`, \
              because its batches have 8 buffers of 64 KiB; with 64 buffers it used 4 MB more. Its code and the C library take 24 % of \
              its time (C: 3 %): each datagram is copied once to the thread that serves clients.",
    },
    Reason {
        promise: "messages without loss, at least 0.75 of the bare datagrams of C from fresh memory",
        table: "messages-plain-1344",
        why: "In a profile of both processors (`perf record -a` beside this table, of an earlier version, in which `publish` did not share datagrams yet and another \
              call did), the sender's spends 30 % in the \
              kernel's copy out of the retransmission buffer, 5 % in the copy into it, which C does not make, 9 % waking the \
              subscriber, and at least 15 % in code of the stream, of the library and of the benchmark; the receiver's spends more than \
              half outside the kernel. Neither waits long for the other, so that only less work on both sides would help.",
    },
    Reason {
        promise: "messages in a log, acknowledged by two, at least 0.95 of those without, in batches",
        table: "messages-durable",
        why: "The publisher's processor does both, and is busy: it is idle for 2 % of the time, and for 4 % while the disk writes. In a \
              profile of its threads (`perf record -a -g`, with the programs and the link of this table), sending takes 62 % of the \
              time without a log, and 28 % with one. Writing takes 33 %: 13 % is the kernel's copy, and 16 % are pages, buffers and \
              reservations of the file system. The checksum takes 8 %, and syncing 6 %.",
    },
    Reason {
        promise: "messages in a log, each batch synced, at least 0.6 of those without a log, in batches",
        table: "messages-durable",
        why: "The same: the publisher's processor is idle for 2 % of the time, and for 4 % while the disk writes. In a profile like that, \
              writing takes 24 % of the time of its threads, sending 20 %, copies of the stream 13 %, syncing 11 %, the checksum \
              7 %, and futexes, by which threads wait for each other, 7 %.",
    },
    Reason {
        promise: "`mcast relay`, 200 groups, at least 5 times socat",
        table: "relay-b",
        why: "The kernel's own forwarding is only about three times as fast as socat if each frame holds one datagram: most \
              of the time is the kernel's path of each frame, which is the same for all three.",
    },
    Reason {
        promise: "`mcast relay`, 200 groups, at least 5 times socat",
        table: "relay-a",
        why: "socat does not look at the payload. The guard against loops hashes each datagram with a secret key, looks it up \
              among the latest 65,536, and looks up its rule, group and path, also if the kernel delivers many in one \
              buffer.",
    },
    Reason {
        promise: "`mcast bridge`, messages per second, at least 0.8 times redis-cli",
        table: "bridge-redis",
        why: "The engine shares a processor with its client or the bridge. Fed with the same records by redis-cli, it takes the same time for \
              a transaction of 1,000 as for single commands. redis-cli sends prepared commands; the bridge also receives the \
              messages from the network.",
    },
    Reason {
        promise: "`mcast bridge`, messages per second, at least 0.8 times rstream",
        table: "bridge-rabbitmq",
        why: "Both wait for each other. While a million records are stored, the processor that the engine and the bridge share is \
              idle for 32 to 41 % of the time, and the publisher's for nine tenths (`/proc/stat`, each second): the bridge had at most two batches of 1,000 records under way, and its thread waited in `recvfrom` (`strace -T`, up to \
              4 ms at a time) for the engine to confirm and deliver them, by which it knows that they are effective. With batches of \
              4,000, which later commits have, a quick run of the same command measures 1.06.",
    },
    Reason {
        promise: "`recv` no slower than std::net::UdpSocket with the same options",
        table: "receive-",
        why: "`recv` returns hop limit, traffic class, time and loss; `std` has the kernel prepare the same metadata but \
              does not read it. Copying it takes a third of the call: hand-written C that reads it (`c-plain`) \
              is as far behind `std-options`. The effect is visible on (a), where segmented buffers fill the queue faster \
              than single calls empty it, so that only the call is measured. Programs that do not need the metadata \
              turn it off (`ReceiverBuilder::details`): that is `mcast-lean`.",
    },
    Reason {
        promise: "`mcast-batches`, sending",
        table: "send-",
        why: "A segmented buffer of 128 small datagrams is one message to the kernel, but 128 values of `Outgoing` to mcast, \
              each with its own options, which are processed one by one. The C reference has one buffer and does not \
              process them.",
    },
    Reason {
        promise: "`mcast-wire`, receiving, at least 1.25",
        table: "receive-b-",
        why: "The sender's processor is the limit: it also runs the driver of the receiving end. In a profile of the sender \
              (`perf record -e cpu-clock -C 0`), the kernel's passing of frames from one end of the pair to the other leads: \
              building socket buffers, and copying each frame into a page for the XDP program (`__napi_build_skb`, \
              `skb_pp_cow_data`, `__alloc_skb`), 14 %, `_raw_spin_unlock_irqrestore` 12 %, `memcpy` 9 %. The program takes \
              1.3 %: 98 ns of a frame, as against 89 in C (`kernel.bpf_stats_enabled`, `run_time_ns` and `run_cnt`, which \
              include counting them). The receiver's processor is idle most of the time, and C with AF_XDP (`c-wire`) does \
              not reach these goals either. The frames that are missing were dropped at the receiving end of the pair, and \
              none at the sending end (`ip -s link`).",
    },
    Reason {
        promise: "`mcast perf --latency`, spinning",
        table: "latency",
        why: "Both ends make the same system calls as sockperf's, `recvfrom` and `sendto` (`strace -f` on both ends). Their own code \
              is longer: by callgrind, from the difference between 1,000 and 5,000 pings, the receiver executes 3,000 instructions \
              for each ping and the sender 2,400, and sockperf's server 310. No function has a tenth of it: header, \
              membership, token and pong are checked, so that both ends can be exposed to untrusted networks, and losses are \
              counted; sockperf reflects every datagram. With an interface named in each call, and `recvmsg` instead of \
              `recvfrom`, a round trip took 0.6 µs more.",
    },
    Reason {
        promise: "`mcast perf --latency`, blocking",
        table: "latency",
        why: "After each wake-up, both ends make one system call more than sockperf, which sleeps in `recvfrom`: they sleep in `ppoll`, \
              to wait for signals and changed interfaces, too, as C does here. Then the code that is counted for spinning runs \
              with cold caches.",
    },
    Reason {
        promise: "`mcast-reader` with its sender at least 20 times multicast_expert",
        table: "pairs-a-1400",
        why: "C with the same calls is at 16 times in the same rounds. The receiver uses half of its processor: in a profile of it \
              (`perf record -C 1` beside this table), 57 % is `recvmmsg`, and half of that the copy of the payload, and 20 % is \
              `ppoll`, in which it sleeps. What arrives until it is awake does not always fit into the socket's default buffer, and is \
              lost there (`RcvbufErrors`).",
    },
    Reason {
        promise: "past the socket, spinning, p99",
        table: "latency-wire",
        why: "Both rows send by a socket, and the frame is delivered within that call. In a profile of both processors (`perf record -a`, \
              spinning), 54 % of the time past the socket is `sendmsg`: 4.4 µs at each end of a round trip of 8.2 µs. The program \
              and its redirection take 3 %. So receiving past the socket can save little more than the 1.2 µs of both calls of `recvmsg`, \
              and p99 is 3 µs above p50 on both paths.",
    },
    Reason {
        promise: "Python, `recv_into`, at least",
        table: "python-queue",
        why: "The number is of a faster machine. In the same rounds, `recv_into` of Python's own socket, which returns no details, is at \
              0.9 million.",
    },
    Reason {
        promise: "50,000 a second, ",
        table: "latency-paced",
        why: "The machine itself is as late: the row `clock` sends nothing, and only reads the clock when a datagram is due. Its \
              p99.99 alone is many times the p50 of a round trip, as is that of C. Everything that was due in such a pause is late, \
              and counts from when it was due.",
    },
    Reason {
        promise: "100 joined",
        table: "groups-v6",
        why: "Linux walks the whole list of groups of an IPv6 interface for every datagram, before it looks up a socket: that \
              is the growth in the sender's column, which includes the receiving stack. In the program's column, the number of \
              calls grows when traffic is spread: each IPv6 group has a socket of its own, so that a call returns \
              fewer datagrams.",
    },
    Reason {
        promise: "messages without loss, at least 0.75 of the bare datagrams of `mcast perf`",
        table: "messages-plain",
        why: "`mcast perf` sends the same bytes repeatedly, without writing or reading them. In a profile of the sender's \
              processor with `publish_all` of an earlier version (at 19 Gbit/s), 37 % of the time is the kernel's copy from the retransmission buffer, \
              11 % waking the subscriber, which is faster than the publisher and waits for every segmented buffer, and 8 % the \
              stream's own code including its copy of the message; the threads for feedback and timers take 4 to 14 %. \
              A buffer of 1 or 2 MiB was not faster than one of \
              8. A subscriber that sleeps briefly before it waits would avoid the wake-ups, but delay messages; this was not \
              done.",
    },
    Reason {
        promise: "messages at 5 % loss, at least 0.95",
        table: "messages-lossy-8",
        why: "A third of all datagrams is lost by at least one of eight subscribers, and is retransmitted. That is work of the \
              publisher's processor, which runs all receiving stacks: in two rounds of this table with \
              `perf record -e sched:sched_switch -C 0`, its threads had that processor for 932 and 938 ms of a run without loss, and for \
              875 and 890 ms at 5 %, which is one seventh more for each datagram of new data. The counters of such runs: 29 repairs \
              to one subscriber for 100 datagrams, and 12 to the group, each of which costs as much as new data.",
    },
    Reason {
        promise: "messages at 5 % loss, at least 0.9 of",
        table: "messages-lossy-",
        why: "Each subscriber loses different datagrams: a fifth of all datagrams are lost by at least one of four subscribers, \
              and a third by at least one of eight, and are retransmitted to each that requests them. The limit is the \
              sender's processor, which runs all receiving stacks for every copy. In a profile with four subscribers, unicast \
              repairs took 12 % of the time of new data when each was a call of its own, and take 8 to 9 % now that they are \
              sent in segmented buffers: each costs one and a half times as much as one more subscriber to new data. Processing \
              the requests takes 1 %.",
    },
    Reason {
        promise: "messages at 1 % loss, at least 0.95",
        table: "messages-lossy-8",
        why: "As at 5 %: one datagram in 13 is lost by at least one of eight subscribers. The two processors are busy with the \
              copies, the requests and their answers.",
    },
    Reason {
        promise: "messages with `--fec auto` at 5 % loss, at least 0.95",
        table: "messages-lossy-8",
        why: "Parity is 14 % more datagrams, each received by all eight subscribers, which share one processor and \
              compute what they lost. With processors to spare it costs publishing no time: in the simulation, 64 subscribers at \
              5 % loss get 2,000 messages in 1.202 s, as against 1.200 s without loss.",
    },
    Reason {
        promise: "Python, sending one datagram a call by `send`",
        table: "python-",
        why: "Nearly all of the time is the kernel's: a `sendto` of Python's own socket (`python` in the tables of sending) is not \
              faster than multicast_expert's either, so no call that sends one datagram can be twice as fast. `Sender.writer` is: it \
              also takes one datagram per call, but sends them in batches.",
    },
];

/// Writes the reasons for missed goals, each once.
pub(super) fn write(text: &mut String, goals: &[Goal]) {
    let missed: Vec<_> = goals.iter().filter(|goal| goal.verdict == Verdict::Missed).collect();
    let mut unexplained: Vec<&str> = Vec::new();
    if missed.is_empty() {
        return;
    }
    text.push_str("\n## Reasons for missed goals\n\n");
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
    fn only_missed_goals_are_explained_and_unknown_reasons_are_marked() {
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
        assert_eq!(text.matches("(receive-a-64, receive-a-1400). `recv` returns").count(), 1, "{text}");
        assert!(text.contains("- faster than light: not explained yet."), "{text}");
    }
}
