//! The content of the settings file, in TOML, and its checks.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mcast::group::{Expand, WellKnown};
use mcast::{GroupAddr, Membership};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use crate::arguments::is_stream_name;

/// The settings.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) interface: Option<OptionSetting>,
    /// With its line.
    pub(super) colour: Option<(Colour, usize)>,
    pub(super) top: Vec<OptionSetting>,
    pub(super) feeds: BTreeMap<String, Feed>,
}

/// The default of an option.
#[derive(Clone, Debug)]
pub(super) struct OptionSetting {
    pub(super) long: &'static str,
    pub(super) values: Vec<String>,
    pub(super) line: usize,
}

/// What the name of a feed stands for.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) groups: Vec<String>,
    pub(super) sources: Vec<String>,
    pub(super) interface: Option<String>,
    /// The options that commands have, with their values.
    pub(super) options: Vec<(&'static str, String)>,
    pub(super) line: usize,
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Whether output has colours.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Colour {
    Auto,
    Always,
    Never,
}

impl Colour {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileTable {
    interface: Option<Spanned<OneOrMore>>,
    colour: Option<Spanned<Colour>>,
    top: TopTable,
    feeds: BTreeMap<Spanned<String>, FeedTable>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct TopTable {
    columns: Option<Spanned<OneOrMore>>,
    sort: Option<Spanned<OneOrMore>>,
    bad_loss: Option<Spanned<OneOrMore>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FeedTable {
    group: OneOrMore,
    source: Option<OneOrMore>,
    interface: Option<String>,
    ttl: Option<u8>,
    key: Option<PathBuf>,
    signed_by: Option<String>,
}

/// A text or a number, or a list of them.
#[derive(Debug)]
struct OneOrMore(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(OneOrMore(vec![number.to_string()]))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(OneOrMore(vec![number.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMore(texts))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

impl Content {
    /// Parses the text of a file in this folder.
    pub(super) fn parse(text: &str, folder: &Path, home: Option<&Path>) -> Result<Self, Problem> {
        let line = |span: Range<usize>| line_of(text, span.start);
        let file: FileTable = toml::from_str(text)
            .map_err(|error| Problem::new(line(error.span().unwrap_or_default()), error.message()))?;
        let option = |long, value: Spanned<OneOrMore>| {
            let line = line(value.span());
            OptionSetting { long, values: value.into_inner().0, line }
        };
        let TopTable { columns, sort, bad_loss } = file.top;
        let top = [("columns", columns), ("sort", sort), ("bad-loss", bad_loss)];
        let mut feeds = BTreeMap::new();
        for (name, table) in file.feeds {
            let line = line(name.span());
            let name = name.into_inner();
            check_name(&name)
                .and_then(|()| table.feed(line, folder, home))
                .map(|feed| feeds.insert(name.clone(), feed))
                .map_err(|message| Problem::new(line, format!("feed {name}: {message}")))?;
        }
        Ok(Self {
            interface: file.interface.map(|interface| option("interface", interface)),
            colour: file.colour.map(|colour| (*colour.get_ref(), line(colour.span()))),
            top: top.into_iter().filter_map(|(long, value)| Some(option(long, value?))).collect(),
            feeds,
        })
    }

    /// Checks the options by the definition of the command.
    pub(super) fn checked(self, definition: &clap::Command) -> Result<Self, Problem> {
        for setting in self.top.iter().chain(&self.interface) {
            let options = setting.values.iter().map(|value| format!("--{}={value}", setting.long));
            let words = ["mcast", "top"].map(str::to_owned).into_iter().chain(options);
            if let Err(error) = definition.clone().try_get_matches_from(words) {
                let text = error.to_string();
                let text = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
                let message = text.split_whitespace().collect::<Vec<_>>().join(" ");
                return Err(Problem::new(setting.line, message));
            }
        }
        Ok(self)
    }
}

/// Checks that a name means nothing else.
fn check_name(name: &str) -> Result<(), String> {
    if !WellKnown::named(name).is_empty() || Expand::default().memberships(name).is_ok() {
        return Err("this is the name of a well-known group; choose another name".into());
    }
    match is_stream_name(name) && !name.starts_with('-') {
        true => Ok(()),
        false => Err("a name has a letter, and none of \":@%/\"".into()),
    }
}

impl FeedTable {
    fn feed(self, line: usize, folder: &Path, home: Option<&Path>) -> Result<Feed, String> {
        let path = |path: PathBuf| match (path.strip_prefix("~"), home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => folder.join(path),
        };
        let mut options = Vec::new();
        options.extend(self.ttl.map(|ttl| ("ttl", ttl.to_string())));
        options.extend(self.key.map(|key| ("key", path(key).display().to_string())));
        options.extend(self.signed_by.map(|by| match by.starts_with("ed25519:") || by == "announced" {
            true => ("signed-by", by),
            false => ("signed-by", path(by.into()).display().to_string()),
        }));
        let feed = Feed {
            groups: self.group.0,
            sources: self.source.map_or_else(Vec::new, |sources| sources.0),
            interface: self.interface,
            options,
            line,
        };
        if feed.groups.is_empty() {
            return Err("name a group, such as group = \"239.255.1.2:5000\"".into());
        }
        for group in &feed.groups {
            if group.parse::<GroupAddr>().is_err() {
                return Err(format!("\"{group}\" is not GROUP:PORT, such as 239.255.1.2:5000"));
            }
        }
        for text in feed.texts(true, true) {
            text.parse::<Membership>().map_err(|error| error.to_string())?;
        }
        Ok(feed)
    }
}

impl Feed {
    /// Returns the memberships, with or without the sources and the interface.
    pub(super) fn texts(&self, with_sources: bool, with_interface: bool) -> Vec<String> {
        let sources = match with_sources && !self.sources.is_empty() {
            true => format!("{}@", self.sources.join(",")),
            false => String::new(),
        };
        let interface = self.interface.as_ref().filter(|_| with_interface);
        let interface = interface.map_or_else(String::new, |interface| format!("%{interface}"));
        let text = |group: &String| {
            let (group, port) = group.rsplit_once(':').unwrap_or((group, ""));
            match group.strip_suffix(']') {
                Some(group) => format!("{sources}{group}{interface}]:{port}"),
                None => format!("{sources}{group}{interface}:{port}"),
            }
        };
        self.groups.iter().map(text).collect()
    }
}

impl Problem {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Returns the number of the line at this position.
fn line_of(text: &str, position: usize) -> usize {
    let before = text.as_bytes().get(..position).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Content, Problem> {
        Content::parse(text, Path::new("/etc/x"), Some(Path::new("/home/ann")))
    }

    #[test]
    fn a_feed_has_groups_sources_an_interface_and_options() {
        let text = "
            [feeds.prices]
            group = [\"232.1.2.3:5000\", \"232.1.2.4:5000\"]
            source = [\"10.0.0.7\", \"10.0.0.8\"]
            interface = \"eth1\"
            ttl = 4
            key = \"~/keys/prices.key\"
            signed-by = \"feed.pub\"
            [feeds.six]
            group = \"[ff15::1]:5000\"
            interface = \"eth1\"
        ";
        let content = parse(text).unwrap();
        let feed = &content.feeds["prices"];
        assert_eq!(
            feed.texts(true, true),
            ["10.0.0.7,10.0.0.8@232.1.2.3%eth1:5000", "10.0.0.7,10.0.0.8@232.1.2.4%eth1:5000"]
        );
        assert_eq!(feed.texts(false, false), ["232.1.2.3:5000", "232.1.2.4:5000"]);
        let expected = [("ttl", "4"), ("key", "/home/ann/keys/prices.key"), ("signed-by", "/etc/x/feed.pub")];
        assert_eq!(feed.options, expected.map(|(long, value)| (long, value.to_owned())));
        assert_eq!(
            content.feeds["six"].texts(true, true)[0].parse::<Membership>().unwrap().to_string(),
            "[ff15::1%eth1]:5000"
        );
    }

    #[test]
    fn errors_name_the_line_and_what_to_write() {
        for (text, line, part) in [
            ("\ncolor = \"never\"", 2, "unknown field `color`, expected one of `interface`, `colour`"),
            ("colour = \"blue\"", 1, "expected one of `auto`, `always`, `never`"),
            ("[top]\ncolumn = [\"loss\"]", 2, "unknown field `column`, expected one of `columns`"),
            ("[feeds.mdns]\ngroup = \"239.1.2.3:1\"", 1, "feed mdns: this is the name of a well-known group"),
            ("[feeds.'a:b']\ngroup = \"239.1.2.3:1\"", 1, "a name has a letter"),
            ("[feeds.a]\ngroup = \"10.0.0.1:5000\"", 1, "feed a: \"10.0.0.1:5000\" is not GROUP:PORT"),
            ("\n[feeds.a]\ngroup = \"239.1.2.3:1\"\nsource = \"x\"", 2, "x"),
            ("[feeds.a]\nsource = \"10.0.0.1\"", 1, "missing field `group`"),
            ("[feeds.a]\ngroup = []", 1, "name a group"),
            ("interface = ", 1, ""),
        ] {
            let problem = parse(text).unwrap_err();
            assert_eq!(problem.line, line, "{text}: {}", problem.message);
            assert!(problem.message.contains(part), "{}", problem.message);
        }
    }
}
