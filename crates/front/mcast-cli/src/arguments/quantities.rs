//! Numbers with units, as arguments: durations, moments, sizes, rates, speeds, and code points; and limits on time and count,
//! with the check of what was received.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use mcast::{Drops, Rate, SenderBuilder};
use mcast_measure::lost_percent;

use crate::exit::{Failure, Outcome, is_broken_pipe};
use crate::output::{count, excess_loss, too_few};

/// Parses a number with a unit: `ns`, `us` (`µs`), `ms`, `s`, `m` (`min`), `h`. The default unit is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|character: char| !matches!(character, '0'..='9' | '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds_of_unit = match unit.trim_start() {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err("write a time such as 500ms, 2s, 1.5 (seconds), 5m or 1h".into()),
    };
    let number: f64 = number.parse().map_err(|_| "write a time such as 500ms, 2s or 1.5 (seconds)")?;
    Duration::try_from_secs_f64(number * seconds_of_unit).map_err(|_| "this time is too long".into())
}

/// Parses a time that is not 0.
pub(crate) fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be more than zero".into()),
        time => Ok(time),
    }
}

/// Parses a time such as `2026-11-22T09:30:00Z`, or an age such as `24h`; returns milliseconds since 1970.
pub(crate) fn parse_moment(text: &str) -> Option<u64> {
    if let Some(time) = parse_time(text) {
        return Some(u64::try_from(time.as_millisecond()).unwrap_or(0));
    }
    parse_duration(text).ok().map(milliseconds_before)
}

/// Parses a time with an offset, or in UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    let time: Result<Timestamp, _> = text.parse();
    let in_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    time.ok().or_else(in_utc)
}

fn milliseconds_before(age: Duration) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.saturating_sub(age).as_millis()).unwrap_or(u64::MAX)
}

/// Parses a number of bytes: `1400`, `64k`, `4M`, `1G`, where k is 1,024.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let error = || "write a number of bytes such as 1400, 64k (65,536) or 4M".to_owned();
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit {
        "" | "B" => 0,
        "k" | "K" | "KiB" => 10,
        "m" | "M" | "MiB" => 20,
        "g" | "G" | "GiB" => 30,
        _ => return Err(error()),
    };
    let number: usize = number.parse().map_err(|_| error())?;
    number.checked_mul(1 << shift).ok_or_else(error)
}

/// Parses a number of bytes that is not 0.
pub(crate) fn parse_positive_size(text: &str) -> Result<usize, String> {
    match parse_size(text)? {
        0 => Err("must be at least 1".into()),
        size => Ok(size),
    }
}

/// Parses how many of something to wait for or to send.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    match text.parse::<i128>() {
        Err(_) => Err("not a whole number".into()),
        Ok(..=0) => Err("must be at least 1".into()),
        Ok(count) => u64::try_from(count).map_err(|_| "is too large".into()),
    }
}

/// Parses a percentage from 0 to 100: `0.5%` or `0.5`.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number
        .filter(|share| (0.0..=100.0).contains(share))
        .ok_or_else(|| "write a share such as 0.5% (from 0 to 100)".into())
}

/// Parses bits per second, and returns bytes.
pub(crate) fn parse_bits(text: &str) -> Result<u64, String> {
    match text.parse::<Rate>().map_err(|error| error.to_string())? {
        Rate::Bits(bits) => Ok((bits / 8.0).ceil() as u64),
        _ => Err("must be bits per second, such as `2Mbit`".into()),
    }
}

/// Parses a factor, with or without an `x`.
pub(crate) fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.strip_suffix('x').unwrap_or(text).parse().ok();
    // Beyond these limits the times of a long recording could not be represented.
    speed
        .filter(|speed| (1e-6..=1e6).contains(speed))
        .ok_or_else(|| "write a factor such as 2 or 0.5 (--flat-out sends as fast as possible)".into())
}

/// Parses a number from 0 to 63, or a name of RFC 2474 (`CS0` to `CS7`), RFC 2597 (`AF11` to `AF43`),
/// RFC 3246 (`EF`), RFC 5865 (`VA`) or RFC 8622 (`LE`).
pub(crate) fn parse_dscp(text: &str) -> Result<u8, String> {
    let error = || "write a number from 0 to 63, or a name such as EF, AF41 or CS5".to_owned();
    let name = text.to_ascii_uppercase();
    let digits: Vec<u8> = name.bytes().skip(2).map(|byte| byte.wrapping_sub(b'0')).collect();
    match (name.get(..2), digits.as_slice()) {
        (Some("EF"), []) => Ok(46),
        (Some("VA"), []) => Ok(44),
        (Some("LE"), []) => Ok(1),
        (Some("CS"), [class @ 0..=7]) => Ok(class << 3),
        (Some("AF"), [class @ 1..=4, drop @ 1..=3]) => Ok(class << 3 | drop << 1),
        _ => text.parse().ok().filter(|number| *number < 64).ok_or_else(error),
    }
}

/// Returns a builder whose datagrams have this code point, if one is given.
pub(crate) fn with_dscp(builder: SenderBuilder, dscp: Option<u8>) -> SenderBuilder {
    match dscp {
        Some(dscp) => builder.traffic_class(dscp << 2),
        None => builder,
    }
}

/// Where a history is served, and to how many bytes per second all its readers together are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServedHistoryAt {
    pub(crate) address: SocketAddr,
    pub(crate) rate: Option<u64>,
}

impl FromStr for ServedHistoryAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of = |text: &str| {
            text.parse().map_err(|_| "write an address and a port, such as 0.0.0.0:7768".to_owned())
        };
        match (of(text), text.rsplit_once(':')) {
            (Err(_), Some((address, rate))) => {
                let address = of(address)?;
                Ok(Self { address, rate: Some(parse_bits(rate)?) })
            }
            (address, _) => Ok(Self { address: address?, rate: None }),
        }
    }
}

/// Limits on time and count, and the conditions of success.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "When to stop")]
pub(crate) struct Limits {
    /// Stop after N datagrams
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    pub(crate) count: Option<u64>,

    /// Stop after TIME; exit status 1 if nothing arrived, or fewer than --count or --expect require
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Stop when nothing has arrived for TIME; exit status as with --timeout
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) idle: Option<Duration>,

    /// Exit status 1 if fewer than N datagrams arrived; 0 requires none
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<u64>,

    /// Exit status 1 if this host dropped more than PERCENT of the datagrams, such as 0.1%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) max_loss: Option<f64>,
}

impl Limits {
    /// Makes an error of a reader of standard output that has left, if there are conditions of success: nothing shows how much of
    /// what was printed it has read.
    pub(crate) fn judge_reader(&self, result: anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
        let has_conditions = self.expect.is_some() || self.max_loss.is_some();
        result.map_err(|error| match has_conditions && is_broken_pipe(&error) {
            true => {
                Failure::no("the reader of standard output has left: it may not have read what was printed")
                    .into()
            }
            false => error,
        })
    }
}

/// Tracks the time and the count.
#[derive(Debug)]
pub(crate) struct Goal<'a> {
    limits: &'a Limits,
    deadline: Option<Instant>,
    silent_since: Instant,
}

impl<'a> Goal<'a> {
    pub(crate) fn new(limits: &'a Limits, start: Instant) -> Self {
        let deadline = limits.timeout.and_then(|timeout| start.checked_add(timeout));
        Self { limits, deadline, silent_since: start }
    }

    /// Returns a goal that only the time limits.
    pub(crate) fn until(timeout: Option<Duration>, start: Instant) -> Goal<'static> {
        const NONE: &Limits =
            &Limits { count: None, timeout: None, idle: None, expect: None, max_loss: None };
        let deadline = timeout.and_then(|timeout| start.checked_add(timeout));
        Goal { deadline, ..Goal::new(NONE, start) }
    }

    /// Records an arrival, from which `--idle` counts.
    pub(crate) fn record_arrival(&mut self) {
        if self.limits.idle.is_some() {
            self.silent_since = Instant::now();
        }
    }

    /// Returns whether this count reaches the limit.
    pub(crate) fn is_reached(&self, datagrams: u64) -> bool {
        self.limits.count.is_some_and(|count| datagrams >= count)
    }

    /// Returns whether `--timeout` has passed. The command then stops even if more datagrams are waiting.
    pub(crate) fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns how long to wait for the next datagram; `None` means without limit. Zero does not mean that nothing
    /// arrived: a caller that was busy for longer must still check for waiting datagrams.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let idle = self.limits.idle.and_then(|idle| self.silent_since.checked_add(idle));
        let end = [self.deadline, idle].into_iter().flatten().min()?;
        Some(end.saturating_duration_since(Instant::now()))
    }

    /// Returns whether the silence has exceeded `--idle` by a margin.
    pub(crate) fn is_overdue(&self, by: Duration) -> bool {
        let idle = self.limits.idle.and_then(|idle| self.silent_since.checked_add(idle)?.checked_add(by));
        idle.is_some_and(|end| Instant::now() >= end)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns which conditions of success are not met; nothing if all are.
    pub(crate) fn misses(&self, datagrams: u64, dropped: Drops) -> Vec<String> {
        let mut misses = Vec::new();
        let required = self.required();
        if datagrams < required {
            misses.push(too_few(&count(datagrams), required));
        }
        // The share of all datagrams that reached the sockets of this command.
        let dropped = dropped.count().unwrap_or(0);
        let lost = lost_percent(dropped, dropped.saturating_add(datagrams));
        misses.extend(excess_loss(lost, self.limits.max_loss));
        misses
    }

    /// Returns the number of datagrams required for success. With a time limit, the default is one.
    fn required(&self) -> u64 {
        let has_end = self.limits.timeout.is_some() || self.limits.idle.is_some();
        self.limits.expect.or(self.limits.count).unwrap_or_else(|| u64::from(has_end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_parsed() {
        let millis = |text| parse_duration(text).unwrap().as_secs_f64() * 1e3;
        assert_eq!(
            ["500ms", "2s", "1.5", "0.25", "2m", "1h"].map(millis),
            [500.0, 2e3, 1.5e3, 250.0, 120e3, 3.6e6]
        );
        assert_eq!(parse_duration("100us").unwrap(), Duration::from_micros(100));
        assert_eq!(parse_duration("0").unwrap(), Duration::ZERO);
    }

    #[test]
    fn invalid_times_are_refused() {
        for text in ["", "s", "-1", "1x", "1.2.3", "nan", "inf", "1e400s", "99999999999999999999999"] {
            parse_duration(text).unwrap_err();
        }
    }

    #[test]
    fn times_and_ages_are_told_apart() {
        let time = Some(1_795_339_800_000);
        assert_eq!(parse_moment("2026-11-22T09:30:00Z"), time);
        assert_eq!(parse_moment("2026-11-22T09:30"), time);
        assert_eq!(parse_moment("2026-11-22T10:30:00+01:00"), time);
        let hour_ago = parse_moment("1h").expect("an age is a time");
        let now = milliseconds_before(Duration::ZERO);
        assert!(now - hour_ago >= 3_590_000 && now - hour_ago <= 3_610_000);
        for text in ["", "yesterday", "5-", "-5", "12:00x"] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(["1400", "64k", "4M", "0"].map(parse_size), [Ok(1400), Ok(65_536), Ok(4 << 20), Ok(0)]);
        for text in ["", "k", "-1", "1.5k", "1T", "99999999999999999999", "18446744073709551615k"] {
            parse_size(text).unwrap_err();
        }
    }

    #[test]
    fn a_reader_that_has_left_fails_only_what_has_conditions() {
        let left = || Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into());
        let strict = Limits { expect: Some(0), ..Limits::default() };
        assert!(is_broken_pipe(&Limits::default().judge_reader(left()).unwrap_err()));
        assert_eq!(crate::exit::judge(&strict.judge_reader(left()).unwrap_err()), Some((1, None)));
        assert_eq!(strict.judge_reader(Ok(Outcome::Yes)).unwrap(), Outcome::Yes);
    }

    #[test]
    fn counts_are_at_least_1() {
        assert_eq!(parse_count("3"), Ok(3));
        for text in ["0", "-1", "", "1.5", "18446744073709551616"] {
            parse_count(text).unwrap_err();
        }
    }

    #[test]
    fn the_percent_sign_is_optional() {
        assert_eq!((parse_percent("0.5%"), parse_percent("3")), (Ok(0.5), Ok(3.0)));
        for text in ["", "%", "101", "-1", "nan"] {
            parse_percent(text).unwrap_err();
        }
    }

    #[test]
    fn names_and_numbers() {
        let numbers =
            ["46", "ef", "AF41", "af13", "CS5", "cs0", "LE", "0", "63"].map(|text| parse_dscp(text).unwrap());
        assert_eq!(numbers, [46, 46, 34, 14, 40, 0, 1, 0, 63]);
        for text in ["", "64", "-1", "AF44", "AF5", "CS8", "EF1", "é", "x"] {
            parse_dscp(text).unwrap_err();
        }
    }

    const NONE: Limits = Limits { count: None, timeout: None, idle: None, expect: None, max_loss: None };

    fn misses(limits: &Limits, datagrams: u64, dropped: u64) -> usize {
        Goal::new(limits, Instant::now()).misses(datagrams, Drops::Exactly(dropped)).len()
    }

    #[test]
    fn no_datagrams_are_a_success_only_without_limits() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(misses(&NONE, 0, 0), 0);
        assert_eq!(misses(&Limits { timeout: second, ..NONE }, 0, 0), 1);
        assert_eq!(misses(&Limits { idle: second, ..NONE }, 0, 0), 1);
        assert_eq!(misses(&Limits { timeout: second, ..NONE }, 1, 0), 0);
        assert_eq!(misses(&Limits { timeout: second, expect: Some(0), ..NONE }, 0, 0), 0);
        assert_eq!(misses(&Limits { count: Some(5), timeout: second, ..NONE }, 4, 0), 1);
        assert_eq!(misses(&Limits { count: Some(5), expect: Some(3), timeout: second, ..NONE }, 4, 0), 0);
    }

    #[test]
    fn a_history_is_served_at_an_address_with_or_without_a_rate() {
        let at = |address: &str, rate| Ok(ServedHistoryAt { address: address.parse().unwrap(), rate });
        assert_eq!("0.0.0.0:7768".parse(), at("0.0.0.0:7768", None));
        assert_eq!("[::]:0:8Mbit".parse(), at("[::]:0", Some(1_000_000)));
        for text in ["", "0.0.0.0", "7768", "0.0.0.0:7768:", "0.0.0.0:7768:10pps", "[::]:8Mbit"] {
            text.parse::<ServedHistoryAt>().unwrap_err();
        }
    }

    #[test]
    fn loss_is_a_percentage_of_received_and_dropped_datagrams() {
        let one_percent = Limits { max_loss: Some(1.0), ..NONE };
        assert_eq!(misses(&one_percent, 99, 1), 0);
        assert_eq!(misses(&one_percent, 98, 2), 1);
        assert_eq!(misses(&one_percent, 0, 0), 0);
    }

    #[test]
    fn silence_and_deadline_both_end_a_wait() {
        let limits =
            Limits { timeout: Some(Duration::from_secs(60)), idle: Some(Duration::from_secs(1)), ..NONE };
        let goal = Goal::new(&limits, Instant::now());
        assert!(goal.time_left().unwrap() <= Duration::from_secs(1));
        let no_idle = Limits { idle: None, ..limits };
        assert!(Goal::new(&no_idle, Instant::now()).time_left().unwrap() > Duration::from_secs(50));
        assert_eq!(Goal::new(&NONE, Instant::now()).time_left(), None);
    }
}
