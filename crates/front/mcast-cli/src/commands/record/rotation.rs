//! `--rotate`: when a new file starts: `100MB`, `60s`.

use std::time::Duration;

use crate::arguments::{parse_duration, parse_size};

/// A limit of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Bytes(u64),
    Age(Duration),
}

/// Returns the smallest size and the smallest age; a file ends at whichever it reaches first.
pub(super) fn smallest(limits: &[Limit]) -> (Option<u64>, Option<Duration>) {
    let bytes = limits.iter().filter_map(|limit| match limit {
        Limit::Bytes(bytes) => Some(*bytes),
        Limit::Age(_) => None,
    });
    let age = limits.iter().filter_map(|limit| match limit {
        Limit::Age(age) => Some(*age),
        Limit::Bytes(_) => None,
    });
    (bytes.min(), age.min())
}

/// The smallest limits, so that files contain more than a few frames.
const MIN_SIZE: u64 = 64 << 10;
const MIN_AGE: Duration = Duration::from_secs(1);

/// Parses a size such as `100MB` or `512k` (k is 1,024), or an age such as `60s`, `10min`, `1h`.
pub(super) fn parse_limit(text: &str) -> Result<Limit, String> {
    let error = || "write a size such as 100MB or 512k, or an age such as 60s, 10min or 1h".to_owned();
    let is_age = text.ends_with(['s', 'h', 'n']) || text.ends_with('m');
    if is_age {
        return match parse_duration(text).map_err(|_| error())? {
            age if age < MIN_AGE => Err("the shortest age is 1s".into()),
            age => Ok(Limit::Age(age)),
        };
    }
    let size = text.strip_suffix('B').filter(|size| !size.ends_with('i')).unwrap_or(text);
    match parse_size(size).map_err(|_| error())? as u64 {
        bytes if bytes < MIN_SIZE => Err("the smallest size is 64k".into()),
        bytes => Ok(Limit::Bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_distinguishes_sizes_and_ages() {
        let age = |seconds| Ok(Limit::Age(Duration::from_secs(seconds)));
        assert_eq!(["60s", "2m", "2min", "1h"].map(parse_limit), [age(60), age(120), age(120), age(3_600)]);
        let size = |bytes| Ok(Limit::Bytes(bytes));
        assert_eq!(
            ["100MB", "100M", "100MiB", "512k", "1GB", "65536"].map(parse_limit),
            [size(100 << 20), size(100 << 20), size(100 << 20), size(512 << 10), size(1 << 30), size(65_536)]
        );
    }

    #[test]
    fn invalid_and_too_small_limits_are_refused() {
        for text in ["", "B", "MB", "-1s", "10", "1kB", "10ms", "0s", "1x", "nan", "infs"] {
            parse_limit(text).unwrap_err();
        }
    }

    #[test]
    fn the_smallest_limit_of_each_kind_counts() {
        let limits = ["1MB", "1h", "512k", "60s"].map(|text| parse_limit(text).unwrap());
        assert_eq!(smallest(&limits), (Some(512 << 10), Some(Duration::from_secs(60))));
        assert_eq!(smallest(&[]), (None, None));
    }
}
