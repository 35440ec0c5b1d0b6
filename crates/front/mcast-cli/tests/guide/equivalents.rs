//! The commands of mcast in tables and sentences.

use std::fs;
use std::path::Path;

use mcast::group::Expand;
use pulldown_cmark::{Event, Options, Parser};

use crate::markdown::{files, top};

/// Returns the commands of mcast that a page has between backticks.
fn commands(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let code = |event| match event {
        Event::Code(code) => Some(code.trim_start_matches("sudo ").to_owned()),
        _ => None,
    };
    let all = Parser::new_ext(&text, Options::ENABLE_TABLES).filter_map(code);
    all.filter(|code| code.starts_with("mcast ")).collect()
}

#[test]
fn equivalents_of_other_tools_are_valid() {
    let mut checked = 0;
    for page in ["how-to/coming-from.md", "explanation/which-kind.md"] {
        // The name of a command alone stands for all that it does.
        for code in commands(&top().join(page)).into_iter().filter(|code| code.split(' ').count() > 2) {
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

/// What a sentence says is often a part of a command, so only its options and groups are checked.
#[test]
fn commands_in_sentences_have_options_that_exist_and_valid_groups() {
    let definition = mcast_cli::definition();
    let (mut checked, mut faults) = (0, Vec::new());
    let readme = top().join("../README.md");
    let pages = files(&top()).into_iter().filter(|page| {
        !page.components().any(|part| part.as_os_str() == "design" || part.as_os_str() == "benchmarks.md")
    });
    for page in pages.chain([readme]) {
        for code in commands(&page) {
            let Some(words) = shlex::split(&code) else { continue };
            let mut command = &definition;
            for word in &words[1..] {
                command = command.find_subcommand(word).unwrap_or(command);
            }
            let ended = ["--", "on", ">", ">>", "|", "&"];
            for word in words[1..].iter().take_while(|word| !ended.contains(&word.as_str())) {
                let option = word.strip_prefix("--").map(|option| option.split('=').next().unwrap_or(option));
                let exists = |option| {
                    let all = || command.get_arguments().chain(definition.get_arguments());
                    option == "help"
                        || option == "version"
                        || all().any(|each| each.get_long() == Some(option))
                };
                let looks_like_group = word.contains("239.") || word.contains("232.") || word.contains("[ff");
                let is_wrong = match option {
                    Some(option) => !exists(option),
                    None if looks_like_group
                        && word.contains(':')
                        && !word.contains("..")
                        && !word.contains('/') =>
                    {
                        Expand::default().memberships(word).is_err()
                    }
                    None => false,
                };
                if is_wrong {
                    faults.push(format!("{}: {code}: {word}", page.display()));
                }
                checked += 1;
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked > 300, "{checked}");
}
