//! Names of streams: `publish --announce` announces them, `subscribe` accepts them in place of a membership.

use mcast::group::Expand;

/// The maximum length that fits into an announcement.
const MAX_LENGTH: usize = 255;

/// Parses a name that is distinguishable from a membership.
pub(crate) fn parse_stream_name(text: &str) -> Result<String, String> {
    match text.len() <= MAX_LENGTH && is_stream_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "a name must contain a letter and none of \":@%/\", have at most {MAX_LENGTH} bytes, and not be the \
             name of a protocol (such as mdns)"
        )),
    }
}

/// Returns whether this is the name of a stream, and not a membership or a misspelled one.
pub(crate) fn is_stream_name(text: &str) -> bool {
    let is_reserved = |character: char| character.is_control() || ":@%/".contains(character);
    !text.contains(is_reserved)
        && text.contains(char::is_alphabetic)
        && !super::description::is_description(text)
        && Expand::default().memberships(text).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_even_misspelled_ones_are_not_stream_names() {
        for name in ["prices", "eth0 prices", "a.b-c_d+1", "Größe"] {
            assert_eq!(parse_stream_name(name).as_deref(), Ok(name));
        }
        let memberships =
            ["239.1.2.3:7000", "239.1.2.3", "239.1.2", "239.1.2.0/28:1", "[ff15::1]:1", "ff15::1"];
        let others = ["mdns", "mdns%eth0", "udp://239.1.2.3:1", "day.sdp", "", "7000", "a\nb"];
        for text in memberships.iter().chain(&others) {
            assert!(!is_stream_name(text), "{text}");
        }
        parse_stream_name(&"x".repeat(256)).unwrap_err();
    }
}
