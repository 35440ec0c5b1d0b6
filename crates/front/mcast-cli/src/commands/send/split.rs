//! Divides the arguments into groups and messages.

use std::ffi::OsString;

use mcast::group::Expand;
use mcast::{Family, Group, Membership};

use crate::arguments::is_host;
use crate::exit::Failure;

/// The arguments as groups and messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SplitArguments {
    pub(super) groups: Vec<String>,
    /// Any bytes, as typed.
    pub(super) messages: Vec<OsString>,
}

/// Splits the arguments. The first one is a group, and so are the following ones as long as they are addresses; the
/// rest are messages. With messages after `--`, all others are groups.
pub(super) fn split(
    words: &[OsString],
    after: &[OsString],
    family: Option<Family>,
) -> Result<SplitArguments, Failure> {
    if !after.is_empty() {
        return Ok(SplitArguments { groups: groups_of(words), messages: after.to_vec() });
    }
    let expand = Expand { family, ..Expand::default() };
    let is_group = |word: &str| is_address(word) && (is_host(word) || expand.destinations(word).is_ok());
    let groups = 1 + words.iter().skip(1).take_while(|word| word.to_str().is_some_and(is_group)).count();
    let (groups, messages) = words.split_at(groups.min(words.len()));
    if let Some(word) = messages.first().and_then(|word| word.to_str())
        && let Some(problem) = mistaken(word, &expand)
    {
        return Err(Failure::usage(problem).remedy(format!("to send it as a message, write: -- \"{word}\"")));
    }
    Ok(SplitArguments { groups: groups_of(groups), messages: messages.to_vec() })
}

/// Converts words to text. Words that are not UTF-8 are not valid groups, and are reported later.
fn groups_of(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Returns whether the word starts like an address or a URL.
fn is_address(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit() || first == '[') || word.contains("://")
}

/// Returns why a message looks like a mistyped group; `None` if it does not.
fn mistaken(word: &str, expand: &Expand) -> Option<String> {
    let address = word.trim_start_matches('[').split(['%', ']', '/', '+']).next()?;
    let is_group = |text: &str| text.parse::<Group>().is_ok();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    if !is_group(address) && !is_group(host) && word.parse::<Membership>().is_err() {
        return None;
    }
    expand.destinations(word).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_words(words: &[&str], after: &[&str]) -> Result<(usize, Vec<OsString>), Failure> {
        let owned = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        split(&owned(words), &owned(after), None).map(|words| (words.groups.len(), words.messages))
    }

    #[test]
    fn groups_come_first() {
        assert_eq!(split_words(&["239.1.2.3:5000"], &[]).unwrap(), (1, vec![]));
        assert_eq!(split_words(&["239.1.2.3:5000", "hello", "239.1.2.3:5"], &[]).unwrap().0, 1);
        assert_eq!(
            split_words(&["239.1.2.3:5000", "[ff15::1]:5000", "hi"], &[]).unwrap(),
            (2, vec!["hi".into()])
        );
        assert_eq!(split_words(&["10.0.0.5:5000", "[fe80::6%eth0]:5000", "hi"], &[]).unwrap().0, 2);
        assert_eq!(split_words(&["mdns", "ssdp"], &[]).unwrap(), (1, vec!["ssdp".into()]));
        assert_eq!(split_words(&["239.1.2.3:5000", "udp://239.1.2.4:1", "12:30"], &[]).unwrap().0, 2);
    }

    #[test]
    fn after_two_dashes_everything_is_a_message() {
        assert_eq!(
            split_words(&["mdns", "ssdp"], &["239.1.2.3:1"]).unwrap(),
            (2, vec!["239.1.2.3:1".into()])
        );
    }

    #[test]
    fn a_mistyped_group_is_not_sent_as_a_message() {
        for word in [
            "239.1.2.4",
            "239.1.2.4:",
            "239.1.2.4:99999",
            "239.1.2.4%eth0",
            "[ff15::1]",
            "10.0.0.1@232.1.1.1:5",
        ] {
            let error = split_words(&["239.1.2.3:5000", word, "hello"], &[]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("\"{word}\"")), "{error}");
        }
        split_words(&["239.1.2.3:5000", "10.0.0.1"], &[]).unwrap();
    }
}
