//! Rules of any text: parsing never panics, and what was parsed is parsed from its text again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_relay::{Rule, parse_rules};

fuzz_target!(|text: &str| {
    let _ = parse_rules(text);
    let Ok(rule) = text.parse::<Rule>() else { return };
    let written = rule.to_string();
    assert_eq!(written.parse(), Ok(rule), "{written}");
});
