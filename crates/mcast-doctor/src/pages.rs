//! The documentation pages of the causes, which are also part of the guide.
//!
//! The pages use a small subset of Markdown, one file per cause in `pages/`. Words in capitals in their commands
//! are placeholders: INTERFACE, GROUP, PORT, SOURCE, BRIDGE.

use crate::Id;

/// The documentation page of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    id: Id,
    text: &'static str,
}

/// A block of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A heading with its level: 1 is the title of the page.
    Heading(usize, String),
    /// A paragraph.
    Paragraph(String),
    /// A list item.
    Point(String),
    /// A table: rows of cells, the header first.
    Table(Vec<Vec<String>>),
    /// A fenced block: commands, or the lines of a file.
    Code(Tags, Vec<String>),
}

/// The info string of a fenced block: its language, and where and how long the commands apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// `sh`, `bat`, `ini`, `yaml`.
    pub language: String,
    /// The other words: a system (`linux`, `macos`, `windows`) or `mcast`; a tool; `ipv4` or `ipv6`; `now`,
    /// `for-good`.
    pub words: Vec<String>,
}

impl Page {
    /// Returns the page of a cause.
    #[must_use]
    pub const fn of(id: Id) -> Self {
        Self { id, text: id.page() }
    }

    /// Returns the id of the cause.
    #[must_use]
    pub const fn id(&self) -> Id {
        self.id
    }

    /// Returns the whole page as Markdown.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        self.text
    }

    /// Returns the summary, the first sentence of the page.
    #[must_use]
    pub fn summary(&self) -> String {
        let paragraph = self.blocks().into_iter().find_map(|block| match block {
            Block::Paragraph(text) => Some(text),
            _ => None,
        });
        paragraph.unwrap_or_default()
    }

    /// Returns the blocks of the page.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        blocks(self.text)
    }
}

impl Tags {
    fn of_fence(line: &str) -> Self {
        let mut words = line.split_whitespace().map(str::to_owned);
        Self { language: words.next().unwrap_or_default(), words: words.collect() }
    }

    /// Returns whether `word` is one of the words.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|each| each == word)
    }
}

/// Splits Markdown text into headings, paragraphs, list items, tables and fenced blocks.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    let mut is_open = false;
    while let Some(line) = lines.next() {
        let starts_block = !std::mem::replace(&mut is_open, !line.is_empty());
        if let Some(fence) = line.strip_prefix("```") {
            let code = lines.by_ref().take_while(|line| !line.starts_with("```"));
            blocks.push(Block::Code(Tags::of_fence(fence), code.map(str::to_owned).collect()));
            is_open = false;
        } else if let Some(row) = line.strip_prefix('|') {
            add_row(&mut blocks, row);
        } else if let Some(point) = line.strip_prefix("- ") {
            blocks.push(Block::Point(point.to_owned()));
        } else if line.starts_with('#') {
            let depth = line.chars().take_while(|letter| *letter == '#').count();
            blocks.push(Block::Heading(depth, line[depth..].trim().to_owned()));
            is_open = false;
        } else if !line.is_empty() {
            add_line(&mut blocks, line.trim(), starts_block);
        }
    }
    blocks
}

/// Appends a line to the block before it, unless it starts a new one.
fn add_line(blocks: &mut Vec<Block>, line: &str, starts_block: bool) {
    match blocks.last_mut() {
        Some(Block::Paragraph(text) | Block::Point(text)) if !starts_block => {
            text.push(' ');
            text.push_str(line);
        }
        _ => blocks.push(Block::Paragraph(line.to_owned())),
    }
}

fn add_row(blocks: &mut Vec<Block>, row: &str) {
    let is_rule = row.chars().all(|letter| matches!(letter, '-' | '|' | ' ' | ':'));
    if is_rule {
        return;
    }
    let cells = row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    match blocks.last_mut() {
        Some(Block::Table(rows)) => rows.push(cells),
        _ => blocks.push(Block::Table(vec![cells])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sections of every page, in this order.
    const SECTIONS: [&str; 6] = ["What you see", "Why", "How mcast knows", "Remedy", "Check", "References"];
    const SYSTEMS: [&str; 4] = ["linux", "macos", "windows", "mcast"];
    const TOOLS: [&str; 8] =
        ["networkd", "networkmanager", "firewalld", "ufw", "nft", "iptables", "docker", "kubernetes"];

    fn pages() -> impl Iterator<Item = Page> {
        Id::ALL.iter().copied().map(Page::of)
    }

    #[test]
    fn every_page_has_a_title_a_summary_and_the_same_sections() {
        for page in pages() {
            let blocks = page.blocks();
            assert_eq!(blocks[0], Block::Heading(1, page.id().to_string()));
            assert!(page.summary().ends_with('.') && page.summary().len() < 160, "{}", page.id());
            let sections: Vec<_> = blocks
                .iter()
                .filter_map(|block| match block {
                    Block::Heading(2, title) => Some(title.as_str()),
                    _ => None,
                })
                .collect();
            assert_eq!(sections, SECTIONS, "{}", page.id());
            assert!(page.text().ends_with(".\n"), "{}", page.id());
        }
    }

    #[test]
    fn every_page_cites_the_references_of_its_finding() {
        for page in pages() {
            let (_, references) = page.text().split_once("## References").unwrap();
            for reference in page.id().references() {
                assert!(references.contains(reference), "{} does not cite {reference}", page.id());
            }
        }
    }

    #[test]
    fn every_block_names_its_system_and_remedies_their_persistence() {
        for page in pages() {
            let mut section = String::new();
            for block in page.blocks() {
                match block {
                    Block::Heading(_, title) => section = title,
                    Block::Code(tags, lines) => {
                        let systems = tags.words.iter().filter(|word| SYSTEMS.contains(&word.as_str()));
                        assert_eq!(systems.count(), 1, "{}: {tags:?}", page.id());
                        let lasts = tags.has("now") || tags.has("for-good");
                        assert_eq!(lasts, section == "Remedy", "{}: {tags:?}", page.id());
                        let known = |word: &String| {
                            SYSTEMS.contains(&word.as_str())
                                || TOOLS.contains(&word.as_str())
                                || ["ipv4", "ipv6", "now", "for-good"].contains(&word.as_str())
                        };
                        assert!(tags.words.iter().all(known), "{}: {tags:?}", page.id());
                        assert!(!lines.is_empty(), "{}", page.id());
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn names_of_other_findings_in_pages_exist() {
        for page in pages() {
            for word in page.text().split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-') {
                let looks_like_one = Id::ALL.iter().any(|id| {
                    let (first, _) = id.as_str().split_once('-').unwrap_or_default();
                    !first.is_empty()
                        && word.starts_with(&format!("{first}-"))
                        && word.matches('-').count() >= 2
                });
                if looks_like_one && word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-') {
                    assert!(word.parse::<Id>().is_ok(), "{}: {word}", page.id());
                }
            }
        }
    }

    #[test]
    fn markdown_is_split_into_blocks() {
        let text = "# t\n\nA\nb.\n\n- one\n  more\n- two\n\nC\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh linux now\nx\n\ny\n```\nD\n";
        let tags = Tags { language: "sh".into(), words: vec!["linux".into(), "now".into()] };
        let expected = [
            Block::Heading(1, "t".into()),
            Block::Paragraph("A b.".into()),
            Block::Point("one more".into()),
            Block::Point("two".into()),
            Block::Paragraph("C".into()),
            Block::Table(vec![vec!["a".into(), "b".into()], vec!["1".into(), "2".into()]]),
            Block::Code(tags, vec!["x".into(), String::new(), "y".into()]),
            Block::Paragraph("D".into()),
        ];
        assert_eq!(blocks(text), expected);
    }
}
