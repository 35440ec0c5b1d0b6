//! Any text as a session description: what is read has streams, each a membership that has a text form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_group::{Membership, SessionDescription};

fuzz_target!(|text: &str| {
    if let Ok(description) = text.parse::<SessionDescription>() {
        assert!(!description.streams.is_empty());
        assert!(description.streams.len() <= SessionDescription::MAX_STREAMS);
        for stream in description.streams.iter().take(100) {
            let shown = stream.membership.to_string();
            // A membership that admits no source has no text form.
            if !stream.membership.sources.is_none() {
                assert_eq!(shown.parse::<Membership>().as_ref(), Ok(&stream.membership), "{shown}");
            }
        }
    }
});
