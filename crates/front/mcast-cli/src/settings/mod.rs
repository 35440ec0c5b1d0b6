//! The settings file: defaults, and names of feeds. Arguments and environment variables override it, and it is never
//! written.

mod apply;
mod file;
mod owner;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anstream::ColorChoice;
use anyhow::Context;
use mcast_terminal::{Cell, Console, Table};

use crate::exit::Failure;
use crate::output::write_record;
use file::{Colour, Content, OptionSetting};
use owner::Trust;

/// The environment variable that names the file; if it is empty, there is none.
pub(crate) const VARIABLE: &str = "MCAST_CONFIG";
const MAX_LENGTH: u64 = 1 << 20;

/// What the settings file contains.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    source: Source,
    content: Content,
}

/// Where the settings come from.
#[derive(Debug, Default, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    /// There is no file at the usual place.
    Absent(PathBuf),
    /// The file of the user who ran `sudo`.
    NotTrusted(PathBuf),
    /// The usual place is in a folder that this user cannot read, such as that of another user whose `HOME` is kept.
    Denied(PathBuf),
    /// [`VARIABLE`] is empty, or the system has no place for settings.
    #[default]
    None,
}

impl Settings {
    /// Reads the file that the environment names, or the one at the usual place, if there is one.
    ///
    /// # Errors
    /// If a named file does not exist, others can write it, or its content is not valid for the definition of the command.
    pub(crate) fn read(definition: &clap::Command) -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var_os(name);
        let (path, is_named) = match variable(VARIABLE) {
            Some(path) if path.is_empty() => return Ok(Self::default()),
            Some(path) => (PathBuf::from(path), true),
            None => match usual_place(variable) {
                Some(path) => (path, false),
                None => return Ok(Self::default()),
            },
        };
        let text = match open(&path, is_named)? {
            Ok(text) => text,
            Err(source) => return Ok(Self { source, content: Content::default() }),
        };
        let home = variable(HOME).map(PathBuf::from);
        let content = Content::parse(&text, path.parent().unwrap_or_else(|| Path::new("")), home.as_deref())
            .and_then(|content| content.checked(definition))
            .map_err(|problem| {
                let place = format!("{}:{}", path.display(), problem.line);
                Failure::usage(format!("{place}: {}", problem.message))
                    .remedy(format!("correct the file; with an empty {VARIABLE}, no settings are read"))
            })?;
        Ok(Self { source: Source::File(path), content })
    }

    /// Uses the colours of the file, unless the environment decides.
    pub(crate) fn set_colours(&self) {
        let decides = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let choice = match self.content.colour {
            Some(_) if decides("NO_COLOR") || decides("CLICOLOR_FORCE") => return,
            Some((Colour::Always, _)) => ColorChoice::Always,
            Some((Colour::Never, _)) => ColorChoice::Never,
            Some((Colour::Auto, _)) | None => return,
        };
        choice.write_global();
    }

    /// Notes that a file is not used.
    pub(crate) fn warn_if_not_used(&self, console: &Console) {
        match &self.source {
            Source::NotTrusted(path) => {
                let path = path.display();
                console.warn(format_args!(
                    "not reading {path}, which belongs to another user than root: {VARIABLE}={path} reads it"
                ));
            }
            // Whether it exists is not known, and mostly it does not.
            Source::Denied(path) => console
                .detail(format_args!("no settings: this user cannot look for a file in {}", path.display())),
            Source::File(_) | Source::Absent(_) | Source::None => {}
        }
    }

    /// Returns the names of the feeds.
    pub(crate) fn feed_names(&self) -> impl Iterator<Item = &str> {
        self.content.feeds.keys().map(String::as_str)
    }

    /// Prints the settings, with the line of each in the file.
    pub(crate) fn show(&self, is_json: bool, console: &Console) -> std::io::Result<()> {
        let palette = console.palette();
        let mut out = console.output();
        let records = self.records();
        if is_json {
            records.iter().try_for_each(|record| write_record(&mut out, "setting", record))?;
            return std::io::Write::flush(&mut out);
        }
        let mut table = Table::new(&["line", "setting", "value"], palette.heading);
        for record in &records {
            let line = Cell::new(record.line.map_or_else(String::new, |line| line.to_string())).right();
            table.row([line, Cell::new(&record.setting).style(palette.group), Cell::new(record.text())]);
        }
        table.write(&mut out)?;
        std::io::Write::flush(&mut out)
    }

    /// Returns the file and its settings, in the order in which they are printed.
    fn records(&self) -> Vec<SettingRecord> {
        let Content { interface, colour, top, feeds } = &self.content;
        let record = |setting: &str, values: &[String], line| SettingRecord {
            setting: setting.into(),
            values: values.to_vec(),
            options: Vec::new(),
            line: Some(line),
            problem: None,
        };
        let mut all = vec![self.source.record()];
        all.extend(interface.iter().map(|one| record("interface", &one.values, one.line)));
        all.extend(colour.iter().map(|(colour, line)| record("colour", &[colour.name().into()], *line)));
        let top = top
            .iter()
            .map(|one: &OptionSetting| record(&format!("top --{}", one.long), &one.values, one.line));
        all.extend(top);
        all.extend(feeds.iter().map(|(name, feed)| SettingRecord {
            options: feed.options.iter().map(|(long, value)| format!("--{long} {value}")).collect(),
            ..record(&format!("feed {name}"), &feed.texts(true, true), feed.line)
        }));
        all
    }
}

impl Source {
    fn record(&self) -> SettingRecord {
        let (path, problem) = match self {
            Self::File(path) => (Some(path), None),
            Self::Absent(path) => (Some(path), Some("does not exist")),
            Self::NotTrusted(path) => (Some(path), Some("not read: it belongs to another user")),
            Self::Denied(path) => (Some(path), Some("this user cannot look for it")),
            Self::None => (None, None),
        };
        SettingRecord {
            setting: "file".into(),
            values: path.map(|path| path.display().to_string()).into_iter().collect(),
            options: Vec::new(),
            line: None,
            problem,
        }
    }
}

/// One object per setting, the file first.
#[derive(Debug, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct SettingRecord {
    /// `file`, `interface`, `colour`, `top --OPTION` or `feed NAME`
    setting: String,
    /// Values; of a feed, its memberships; of `file`, its path, or nothing if no file is read
    values: Vec<String>,
    /// Options that a feed adds to commands
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
    /// Line in the file
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Why the file is not read
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
}

impl SettingRecord {
    /// Returns the value as the table shows it.
    fn text(&self) -> String {
        match (self.values.as_slice(), self.problem) {
            ([], _) => "none".into(),
            ([path], Some(problem)) => format!("{path} ({problem})"),
            (values, _) if self.setting.starts_with("top ") => values.join(","),
            (values, _) => [values, &self.options].concat().join(" "),
        }
    }
}

mcast_json::schemas! { pub(crate),
    RecordSchema::new::<SettingRecord>("config", "Setting (`mcast config --json`)")
        .event("setting")
        .describe("values[]", "Value")
        .describe("options[]", "Argument"),
}

#[cfg(windows)]
const HOME: &str = "USERPROFILE";
#[cfg(not(windows))]
const HOME: &str = "HOME";

/// Returns where the file is if the environment does not name it.
fn usual_place(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = match cfg!(windows) {
        true => folder("APPDATA"),
        // Only absolute paths count (XDG Base Directory Specification). On macOS, too, programs of the terminal have their
        // settings there.
        false => folder("XDG_CONFIG_HOME").or_else(|| Some(folder(HOME)?.join(".config"))),
    };
    Some(folder?.join("mcast").join("config.toml"))
}

/// Returns the text of the file, or why it is not used.
fn open(path: &Path, is_named: bool) -> anyhow::Result<Result<String, Source>> {
    let failed = || format!("cannot read the settings in {}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => {
            return Ok(Err(Source::Absent(path.to_owned())));
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && !is_named && !path.exists() => {
            return Ok(Err(Source::Denied(path.to_owned())));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::environment(format!("the settings file {} does not exist", path.display()))
                .remedy(format!("{VARIABLE} names it: correct or unset the variable"))
                .into());
        }
        Err(error) => return Err(error).with_context(failed),
    };
    match owner::trust(&file, is_named).with_context(failed)? {
        Trust::Full => {}
        Trust::NotByRoot => return Ok(Err(Source::NotTrusted(path.to_owned()))),
        Trust::None(why) => {
            let path = path.display();
            return Err(Failure::usage(format!("the settings in {path} are not used: {why}"))
                .remedy(format!("`chmod go-w {path}`, as the user who owns it"))
                .into());
        }
    }
    let mut text = String::new();
    let length = file.take(MAX_LENGTH + 1).read_to_string(&mut text).with_context(failed)?;
    if length as u64 > MAX_LENGTH {
        let message = format!("the settings in {} are longer than 1 MiB", path.display());
        return Err(Failure::usage(message).remedy(format!("name another file with {VARIABLE}")).into());
    }
    Ok(Ok(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> Option<String> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, it)| it.into());
        usual_place(find).map(|path| path.display().to_string())
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_in_the_folder_for_settings() {
        let home = ("HOME", "/home/ann");
        assert_eq!(place(&[home]).unwrap(), "/home/ann/.config/mcast/config.toml");
        assert_eq!(place(&[home, ("XDG_CONFIG_HOME", "/x")]).unwrap(), "/x/mcast/config.toml");
        // Empty and relative ones do not count.
        for ignored in ["", "x"] {
            let at = place(&[home, ("XDG_CONFIG_HOME", ignored)]);
            assert_eq!(at.unwrap(), "/home/ann/.config/mcast/config.toml");
        }
        assert_eq!(place(&[]), None);
    }
}
