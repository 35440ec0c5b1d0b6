//! Any text as a membership: what parses is shown as text that parses to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_group::Membership;

fuzz_target!(|text: &str| {
    if let Ok(membership) = text.parse::<Membership>() {
        let shown = membership.to_string();
        assert_eq!(shown.parse().as_ref(), Ok(&membership), "{text:?} is shown as {shown:?}");
    }
});
