//! The Markdown files of the guide, with their fenced blocks and links.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

/// A fenced block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The info string: `console`, `sh linux now`.
    pub(crate) info: String,
    /// The line of the fence, from 1.
    pub(crate) line: usize,
    pub(crate) lines: Vec<String>,
    /// What differs in each run: the comment before the block lists it, as `<!-- differs: 951 | 2.004 s -->`.
    pub(crate) differing: Vec<String>,
}

pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs").canonicalize().unwrap()
}

/// Every Markdown file under a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut events = Parser::new(text).into_offset_iter();
    while let Some((event, range)) = events.next() {
        let Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) = event else { continue };
        let code = events.by_ref().map_while(|(event, _)| match event {
            Event::Text(code) => Some(code.into_string()),
            _ => None,
        });
        let lines = code.collect::<String>().lines().map(str::to_owned).collect();
        let before = text[..range.start].lines();
        let comment =
            before.clone().last().and_then(|line| line.strip_prefix("<!-- differs: ")?.strip_suffix(" -->"));
        let differing = comment.into_iter().flat_map(|list| list.split(" | ")).map(str::to_owned).collect();
        blocks.push(Block { info: info.into(), line: before.count() + 1, lines, differing });
    }
    blocks
}

/// The targets of a text's links.
pub(crate) fn links(text: &str) -> Vec<String> {
    let target = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into()),
        _ => None,
    };
    Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(target).collect()
}
