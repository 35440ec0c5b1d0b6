//! The commands of mcast in the tables for people who come from other tools.

use std::fs;

use pulldown_cmark::{Event, Options, Parser};

use crate::markdown::top;

#[test]
fn equivalents_of_other_tools_are_valid() {
    let mut checked = 0;
    for page in ["how-to/coming-from.md", "explanation/which-kind.md"] {
        let text = fs::read_to_string(top().join(page)).unwrap();
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            let Event::Code(code) = event else { continue };
            // The name of a command alone stands for all that it does.
            if !code.starts_with("mcast ") || code.split(' ').count() == 2 {
                continue;
            }
            // What follows is for the shell.
            let words = code.split_whitespace().take_while(|word| ![">", ">>", "|"].contains(word));
            if let Err(error) = mcast_cli::command().try_get_matches_from(words) {
                panic!("{page}: {code}: {error}");
            }
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}
