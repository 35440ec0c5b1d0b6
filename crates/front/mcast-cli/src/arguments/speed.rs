//! Speeds relative to recorded times: `2`, `0.5`, `10x`.

/// Parses a factor, with or without an `x`.
pub(crate) fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.strip_suffix('x').unwrap_or(text).parse().ok();
    // Beyond these limits the times of a long recording could not be represented.
    speed
        .filter(|speed| (1e-6..=1e6).contains(speed))
        .ok_or_else(|| "write a factor such as 2 or 0.5 (--flat-out sends as fast as possible)".into())
}
