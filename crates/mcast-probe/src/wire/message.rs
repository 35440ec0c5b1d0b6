//! Bytes to messages.

use super::bytes::Reader;
use super::header::{Header, Kind};
use super::path::{PathAnswer, PathProbe};
use super::ping::{Answer, Probe};
use super::report::Report;
use super::settings::Settings;

/// What came, behind its header.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Data: only the header counts.
    Data,
    /// A stream begins.
    Opening(Settings),
    /// A stream has ended, of as many datagrams as the header's sequence number says.
    Closing(Settings),
    /// What a receiver counted.
    Report(Box<Report>),
    /// Who plays ping-pong?
    Call,
    /// I do, if you send this token.
    Token(u64),
    /// A ping with this token.
    Ping(u64),
    /// The answer to a ping.
    Pong,
    /// A probe of `mcast ping`.
    Probe(Probe),
    /// The answer to a probe.
    Answer(Answer),
    /// A probe of `mcast doctor --probe`.
    PathProbe(PathProbe),
    /// The answer to a probe of the path.
    PathAnswer(PathAnswer),
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is somebody else's, or of another version.
    #[error("it is no message of mcast perf, ping or doctor of this version")]
    Foreign,
    /// It ends too early.
    #[error("the message ends too early")]
    Short,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// What is no message, and why.
    pub fn decode(bytes: &[u8]) -> Result<(Header, Self), WireError> {
        let header = Header::decode(bytes).ok_or(WireError::Foreign)?;
        let message = Self::of_kind(header.kind, &bytes[Header::LENGTH..]).ok_or(WireError::Short)?;
        Ok((header, message))
    }

    fn of_kind(kind: Kind, body: &[u8]) -> Option<Self> {
        Some(match kind {
            Kind::Data => Self::Data,
            Kind::Opening => Self::Opening(Settings::decode(body)?),
            Kind::Closing => Self::Closing(Settings::decode(body)?),
            Kind::Report => Self::Report(Box::new(Report::decode(body)?)),
            // A token comes back: what is too short for one gets none.
            Kind::Call => Reader(body).u64().map(|_| Self::Call)?,
            Kind::Token => Self::Token(Reader(body).u64()?),
            Kind::Ping => Self::Ping(Reader(body).u64()?),
            Kind::Pong => Self::Pong,
            Kind::Probe => Self::Probe(Probe::decode(body)?),
            Kind::Answer => Self::Answer(Answer::decode(body)?),
            Kind::PathProbe => Self::PathProbe(PathProbe::decode(body)?),
            Kind::PathAnswer => Self::PathAnswer(PathAnswer::decode(body)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{CLOSING_LENGTH, PATH_PROBE_LENGTH, PROBE_LENGTH, SessionId, UnixNanos};
    use crate::{Clocks, Drops, Percentiles};

    prop_compose! {
        fn headers()(stream: u16, session: u64, sequence in 0..=1_u64 << 62, time: u64) -> Header {
            Header {
                kind: Kind::Data,
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
        ) -> Settings {
            let (size, clock, streams) = numbers;
            Settings {
                size, rate, clock, streams,
                segmentation: flags.0,
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
            clocks in prop_oneof![Just(Clocks::Same), Just(Clocks::Apart), Just(Clocks::Unknown)],
            flags in any::<(bool, bool)>(),
            counts in proptest::array::uniform6(proptest::option::of(0..u64::MAX)),
        ) -> Report {
            Report {
                receiver: n[0], number, sent: n[1], received: n[2], lost: n[3], duplicated: n[4],
                reordered: n[5], unheard: n[6], bytes: n[7], elapsed: Duration::from_nanos(n[1]),
                jitter: Duration::from_nanos(n[2]), delays, clocks, calls: n[3],
                closed: flags.0, merged: flags.1, drops: Drops::of_counts(counts),
            }
        }
    }

    proptest! {
        #[test]
        fn settings_survive_the_wire(header in headers(), settings in settings()) {
            let opening = (header.as_kind(Kind::Opening), Message::Opening(settings));
            prop_assert_eq!(Message::decode(&settings.opening(header)), Ok(opening));
            let closing = (header.as_kind(Kind::Closing), Message::Closing(settings));
            let bytes = settings.closing(header);
            prop_assert_eq!(Message::decode(&bytes), Ok(closing));
            prop_assert_eq!(bytes.len(), CLOSING_LENGTH);
        }

        #[test]
        fn reports_survive_the_wire_and_are_no_longer_than_what_they_answer(
            header in headers(), report in reports(),
        ) {
            let bytes = report.encode(header);
            prop_assert!(bytes.len() <= CLOSING_LENGTH);
            let expected = (header.as_kind(Kind::Report), Message::Report(Box::new(report)));
            prop_assert_eq!(Message::decode(&bytes), Ok(expected));
        }

        #[test]
        fn probes_and_answers_survive_the_wire(
            header in headers(), length in 0_usize..2_000, hop_limit: u8, left: Option<u8>,
            responder: u64, unicast_port: u16, joined: u64, by_unicast: bool,
        ) {
            let probe = Probe { hop_limit, by_unicast };
            let request = probe.encode(header, length);
            let expected = (header.as_kind(Kind::Probe), Message::Probe(probe));
            prop_assert_eq!(Message::decode(&request), Ok(expected));
            let joined = Duration::from_nanos(joined);
            let answer = Answer { responder, hop_limit, hop_limit_left: left, by_unicast, unicast_port, joined };
            let bytes = answer.encode(header, request.len());
            prop_assert_eq!(bytes.len(), length.max(PROBE_LENGTH));
            let expected = (header.as_kind(Kind::Answer), Message::Answer(answer));
            prop_assert_eq!(Message::decode(&bytes), Ok(expected));
        }

        #[test]
        fn probes_of_the_path_and_answers_survive_the_wire(
            header in headers(), length in 0_usize..2_000, hop_limit: u8, left: Option<u8>,
            responder: u64, interface: u32, arrived: u32,
        ) {
            let probe = PathProbe { hop_limit };
            let request = probe.encode(header, length);
            let expected = (header.as_kind(Kind::PathProbe), Message::PathProbe(probe));
            prop_assert_eq!(Message::decode(&request), Ok(expected));
            prop_assert_eq!(request.len(), length.max(PATH_PROBE_LENGTH));
            let answer = PathAnswer { responder, interface, length: arrived, hop_limit, hop_limit_left: left };
            let bytes = answer.encode(header);
            prop_assert!(bytes.len() <= request.len());
            let expected = (header.as_kind(Kind::PathAnswer), Message::PathAnswer(answer));
            prop_assert_eq!(Message::decode(&bytes), Ok(expected));
        }

        #[test]
        fn hostile_bytes_are_refused_or_read_but_never_a_panic(
            start in headers(), kind in 0_u8..14, body in proptest::collection::vec(any::<u8>(), 0..260),
            cut in 0_usize..300,
        ) {
            let mut bytes = start.encode().to_vec();
            bytes[4] = kind;
            bytes.extend(body);
            bytes.truncate(cut);
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn noise_is_foreign(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assume!(!bytes.starts_with(b"mcp"));
            prop_assert_eq!(Message::decode(&bytes), Err(WireError::Foreign));
        }
    }

    #[test]
    fn every_truncation_of_every_message_is_refused() {
        let header =
            Header { kind: Kind::Probe, stream: 0, session: SessionId(1), sequence: 2, time: UnixNanos(3) };
        let probe = Probe { hop_limit: 9, by_unicast: false }.encode(header, 0);
        let path_probe = PathProbe { hop_limit: 9 }.encode(header, 0);
        let opening = Settings::default().opening(header);
        let report = Report::default().encode(header);
        for bytes in [probe, path_probe, opening, report] {
            for end in 0..bytes.len() {
                assert!(Message::decode(&bytes[..end]).is_err(), "{end} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn another_version_is_foreign() {
        let header =
            Header { kind: Kind::Data, stream: 0, session: SessionId(1), sequence: 2, time: UnixNanos(3) };
        let mut bytes = header.encode();
        bytes[3] += 1;
        assert_eq!(Message::decode(&bytes), Err(WireError::Foreign));
    }
}
