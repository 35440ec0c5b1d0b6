//! Sizes in bytes, counts and percentages.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(["1400", "64k", "4M", "0"].map(parse_size), [Ok(1400), Ok(65_536), Ok(4 << 20), Ok(0)]);
        for text in ["", "k", "-1", "1.5k", "1T", "99999999999999999999", "18446744073709551615k"] {
            parse_size(text).unwrap_err();
        }
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
}
