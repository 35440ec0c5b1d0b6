//! The messages of `mcast perf`, `mcast ping` and `mcast doctor --probe`.
//!
//! Each starts with the same 32 bytes, in big-endian order:
//!
//! | bytes | contents |
//! |---|---|
//! | 0-2 | `mcp` |
//! | 3 | version, 1 |
//! | 4 | message type |
//! | 5 | reserved: sent as 0, ignored on receipt |
//! | 6-7 | stream within the session |
//! | 8-15 | session, a random number |
//! | 16-23 | sequence number within the stream; in a closing message, the number of datagrams sent |
//! | 24-31 | send time: nanoseconds since 1970-01-01 UTC by the sender's clock |
//!
//! The rest depends on the message type; extra bytes are padding. A reply is never longer than its request,
//! which prevents amplification; the constants that ensure this are checked where the messages are defined.

mod header;
mod probe;
mod report;

use alloc::boxed::Box;

pub use header::{MessageType, STREAM_MESSAGE_LENGTH, SessionHeader, SessionId, StreamMessage, UnixNanos};
pub use probe::{
    EXAMINATION_LENGTH, Examination, PROBE_LENGTH, ProbeCase, ProbeReply, ProbeRequest, examination_request,
};
#[cfg(feature = "std")]
pub(crate) use report::nanoseconds;
pub use report::{
    CLOSING_LENGTH, ClockRelation, DropCounts, DropPoint, Percentiles, ReceiverReport, SessionSettings,
};

use header::Reader;

/// The length of the header, which is the minimum size of a data datagram.
pub const HEADER_LENGTH: usize = header::LENGTH;

/// The minimum size of a ping-pong datagram: the header and a token.
pub const PING_LENGTH: usize = HEADER_LENGTH + 8;

/// The contents of a message, without its header.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionMessage {
    /// Data; everything relevant is in the header.
    Data,
    /// Start of a stream.
    Opening(SessionSettings),
    /// End of a stream; the header's sequence number is the number of datagrams sent.
    Closing(SessionSettings),
    /// A receiver's statistics.
    Report(Box<ReceiverReport>),
    /// Asks for a receiver that replies to pings.
    Call,
    /// Offers to reply to pings that carry this token.
    Token(u64),
    /// A ping with this token.
    Ping(u64),
    /// The reply to a ping.
    Pong,
    /// A probe of `mcast ping` or `mcast doctor --probe`.
    Probe(ProbeRequest),
    /// The reply to a probe.
    Reply(ProbeReply),
    /// Asks listeners to examine themselves.
    Examine,
    /// What a listener found.
    Examination(Box<Examination>),
}

impl SessionMessage {
    /// Decodes a message; `None` if the bytes are truncated, or belong to another protocol or version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(SessionHeader, Self)> {
        let header = SessionHeader::decode(bytes)?;
        let message = Self::from_kind(header.kind, &bytes[SessionHeader::LENGTH..])?;
        Some((header, message))
    }

    fn from_kind(kind: MessageType, body: &[u8]) -> Option<Self> {
        Some(match kind {
            MessageType::Data => Self::Data,
            MessageType::Opening => Self::Opening(SessionSettings::decode(body)?),
            // One that is shorter than the report that replies to it is ignored.
            MessageType::Closing if body.len() < CLOSING_LENGTH - SessionHeader::LENGTH => return None,
            MessageType::Closing => Self::Closing(SessionSettings::decode(body)?),
            MessageType::Report => Self::Report(Box::new(ReceiverReport::decode(body)?)),
            // The reply carries a token, so a call without room for one gets no reply: a reply must not be
            // longer than its request.
            MessageType::Call => Reader(body).u64().map(|_| Self::Call)?,
            MessageType::Token => Self::Token(Reader(body).u64()?),
            MessageType::Ping => Self::Ping(Reader(body).u64()?),
            MessageType::Pong => Self::Pong,
            MessageType::Probe => Self::Probe(ProbeRequest::decode(body)?),
            MessageType::Reply => Self::Reply(ProbeReply::decode(body)?),
            // One that is shorter than the longest reply is ignored.
            MessageType::Examine if body.len() < EXAMINATION_LENGTH - SessionHeader::LENGTH => return None,
            MessageType::Examine => Self::Examine,
            MessageType::Examination => Self::Examination(Box::new(Examination::decode(body)?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::DropCounts;

    prop_compose! {
        fn headers()(stream: u16, session: u64, sequence in 0..=1_u64 << 62, time: u64) -> SessionHeader {
            SessionHeader {
                kind: MessageType::Data,
                stream,
                session: SessionId(session),
                sequence,
                time: UnixNanos(time),
            }
        }
    }

    prop_compose! {
        fn settings()(
            numbers in any::<(u32, u64, u16)>(),
            rate in proptest::option::of(1e-3..1e9),
            flags in any::<(bool, bool, bool)>(),
        ) -> SessionSettings {
            let (size, clock, streams) = numbers;
            SessionSettings {
                size, rate, clock, streams,
                gso: flags.0,
                ping_pong: flags.1,
                more_follows: flags.2,
            }
        }
    }

    fn percentiles(seed: u64) -> Percentiles {
        let [p50, p90, p99, p999, max] = [0, 1, 2, 3, 4].map(|n| Duration::from_nanos(seed / 8 + n));
        Percentiles { p50, p90, p99, p999, max }
    }

    prop_compose! {
        fn reports()(
            n in any::<[u64; 8]>(),
            number: u32,
            delays in proptest::option::of(any::<u64>().prop_map(percentiles)),
            clocks in prop_oneof![Just(ClockRelation::Same), Just(ClockRelation::Apart), Just(ClockRelation::Unknown)],
            flags in any::<(bool, bool)>(),
            counts in proptest::array::uniform7(proptest::option::of(0..u64::MAX)),
        ) -> ReceiverReport {
            ReceiverReport {
                receiver: n[0], number, sent: n[1], received: n[2], lost: n[3], duplicated: n[4],
                reordered: n[5], before_first: n[6], bytes: n[7], elapsed: Duration::from_nanos(n[1]),
                jitter: Duration::from_nanos(n[2]), delays, clocks, receive_calls: n[3],
                closed: flags.0, gro: flags.1, drops: DropCounts::from_counts(counts),
            }
        }
    }

    proptest! {
        #[test]
        fn settings_round_trip(header in headers(), settings in settings()) {
            let opening = (header.with_kind(MessageType::Opening), SessionMessage::Opening(settings));
            prop_assert_eq!(SessionMessage::decode(&settings.opening(header)), Some(opening));
            let closing = (header.with_kind(MessageType::Closing), SessionMessage::Closing(settings));
            let bytes = settings.closing(header);
            prop_assert_eq!(SessionMessage::decode(&bytes), Some(closing));
            prop_assert_eq!(bytes.len(), CLOSING_LENGTH);
        }

        #[test]
        fn reports_round_trip_and_are_no_longer_than_their_request(
            header in headers(), report in reports(),
        ) {
            let bytes = report.encode(header);
            prop_assert!(bytes.len() <= CLOSING_LENGTH);
            let expected = (header.with_kind(MessageType::Report), SessionMessage::Report(Box::new(report)));
            prop_assert_eq!(SessionMessage::decode(&bytes), Some(expected));
        }

        #[test]
        fn probes_and_replies_round_trip(
            header in headers(), length in 0_usize..2_000, hop_limit: u8, left: Option<u8>,
            responder: u64, unicast_port: u16, joined: u64, by_unicast: bool, short_reply: bool,
            interface: u32, arrived: u32,
        ) {
            let probe = ProbeRequest { hop_limit, by_unicast, short_reply };
            let request = probe.encode(header, length);
            let expected = (header.with_kind(MessageType::Probe), SessionMessage::Probe(probe));
            prop_assert_eq!(SessionMessage::decode(&request), Some(expected));
            let joined = Duration::from_nanos(joined);
            let reply = ProbeReply {
                responder, interface, length: arrived, hop_limit, arrival_hop_limit: left, by_unicast, unicast_port, joined,
            };
            let bytes = reply.encode(header, request.len());
            prop_assert_eq!(bytes.len(), length.max(PROBE_LENGTH));
            let expected = (header.with_kind(MessageType::Reply), SessionMessage::Reply(reply));
            prop_assert_eq!(SessionMessage::decode(&bytes), Some(expected));
        }

        #[test]
        fn examinations_round_trip_and_are_no_longer_than_their_request(
            header in headers(), responder: u64, on_wire: Option<u64>, at_socket: u64, text in ".{0,900}",
        ) {
            let request = examination_request(header);
            let expected = (header.with_kind(MessageType::Examine), SessionMessage::Examine);
            prop_assert_eq!(SessionMessage::decode(&request), Some(expected));
            let examination = Examination { responder, on_wire, at_socket, text };
            let bytes = examination.encode(header);
            prop_assert!(bytes.len() <= request.len());
            let Some((_, SessionMessage::Examination(decoded))) = SessionMessage::decode(&bytes) else {
                panic!("not decoded")
            };
            prop_assert!(examination.text.starts_with(&decoded.text));
            prop_assert!(decoded.text == examination.text || bytes.len() > EXAMINATION_LENGTH - 4);
            prop_assert_eq!(Examination { text: examination.text.clone(), ..*decoded }, examination);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            start in headers(), kind in 0_u8..16, body in proptest::collection::vec(any::<u8>(), 0..260),
            cut in 0_usize..300,
        ) {
            let mut bytes = start.encode().to_vec();
            bytes[4] = kind;
            bytes.extend(body);
            bytes.truncate(cut);
            let _ = SessionMessage::decode(&bytes);
        }

        #[test]
        fn other_payloads_are_foreign(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assume!(!bytes.starts_with(b"mcp"));
            prop_assert_eq!(SessionMessage::decode(&bytes), None);
        }
    }

    #[test]
    fn truncated_messages_are_refused() {
        let header = SessionHeader::new(MessageType::Probe, SessionId(1));
        let probe = ProbeRequest { hop_limit: 9, by_unicast: false, short_reply: false }.encode(header, 0);
        let opening = SessionSettings::default().opening(header);
        let report = ReceiverReport::default().encode(header);
        let examine = examination_request(header);
        for bytes in [probe, opening, report, examine] {
            for end in 0..bytes.len() {
                assert!(SessionMessage::decode(&bytes[..end]).is_none(), "{end} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn other_versions_are_foreign() {
        let mut bytes = SessionHeader::new(MessageType::Data, SessionId(1)).encode();
        bytes[3] += 1;
        assert_eq!(SessionMessage::decode(&bytes), None);
    }
}
