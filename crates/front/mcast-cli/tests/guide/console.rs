//! Blocks of `console`: a prompt, a command, and what it prints.
//!
//! `sender$ mcast send …` runs on the host *sender*; without a name it is the receiver; `sender2$` is a second terminal
//! there. A command waits until the previous one of its terminal has ended, and until those of other terminals have
//! printed something. Each line that is shown must be printed, in this order. Times of day, ports that the system chose, what
//! the comment before the block lists (`<!-- differs: 951 | 2.004 s -->`), and `…` match anything. `^C` is Ctrl-C,
//! pressed when all lines before it were printed and all other commands have ended. A command ends with status 0, or 130
//! after Ctrl-C, unless `(status 1)` follows its output.
//!
//! A block of `sh` is a script that must succeed; one of `sh elsewhere` names what the reader has (`elsewhere.rs`). A block with
//! `file=NAME` is written to that file first; one with `from=PATH` is an excerpt of that file of the project, which has
//! tests of its own. Settings are those of `file=.config/mcast/config.toml`. `<!-- lab: NAME -->` on a page selects that network, and `<!-- needs: PROGRAM -->` names a program of
//! others without which it cannot be followed. `<!-- broker: kafka -->` starts a broker of Kafka on the host *other*, and needs
//! its client and the feature `kafka`.

use std::fs::{self, Permissions};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use crate::kafka_server::{KafkaServer, Security};
use crate::markdown::{Block, blocks, files, top};
use crate::network::Network;
use crate::support::{Ended, MCAST, Running, TIMEOUT, eventually, program};

/// The line of a page that needs a broker of Kafka.
const BROKER: &str = "<!-- broker: kafka -->";
const INTERRUPT: &str = "^C";
const STATUS: &str = "(status ";
/// Pages that are followed at the same time.
const READERS: usize = 4;

/// A command of a block, and what is shown of its output.
struct Step {
    host: String,
    command: String,
    shown: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in &block.lines {
        let prompt = line.split_once("$ ").filter(|(host, _)| host.chars().all(char::is_alphanumeric));
        match (prompt, steps.last_mut()) {
            (Some((host, command)), _) => {
                let (host, command) = (host.to_owned(), command.to_owned());
                steps.push(Step { host, command, shown: Vec::new() });
            }
            (None, Some(step)) if step.command.ends_with('\\') => {
                step.command.pop();
                step.command.push_str(line.trim_start());
            }
            (None, Some(step)) => step.shown.push(pattern(line, &block.differing)),
            (None, None) => panic!("line {}: output before a command", block.line),
        }
    }
    steps
}

/// Returns a line with `…` for what differs in each run, and for the spaces around it, which depend on its width.
fn pattern(line: &str, differing: &[String]) -> String {
    const MARK: char = '\u{0}';
    let mut line = differing.iter().fold(line.to_owned(), |line, text| line.replace(text.as_str(), "\u{0}"));
    while let Some(range) = time_of_day(&line).or_else(|| chosen_port(&line)) {
        line.replace_range(range, "\u{0}");
    }
    let parts: Vec<&str> = line.split(MARK).collect();
    let last = parts.len() - 1;
    let trimmed = parts.iter().enumerate().map(|(number, part)| {
        let part = if number > 0 { part.trim_start() } else { part };
        if number < last { part.trim_end() } else { part }
    });
    trimmed.collect::<Vec<_>>().join("…")
}

/// Returns where the first time of day with a fraction is: `12:34:56.123456`.
fn time_of_day(line: &str) -> Option<Range<usize>> {
    const FORM: &str = "00:00:00.000000";
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let fits = |window: &[u8]| {
        let same = |(byte, form): (&u8, u8)| if form == b'0' { is_digit(*byte) } else { *byte == form };
        window.iter().zip(FORM.bytes()).all(same)
    };
    let start = line.as_bytes().windows(FORM.len()).position(fits)?;
    Some(start..start + FORM.len())
}

/// Returns where the first port is that Linux chooses for a socket that is not bound.
fn chosen_port(line: &str) -> Option<Range<usize>> {
    line.match_indices(':').find_map(|(colon, _)| {
        let start = colon + 1;
        let digits = line[start..].bytes().take_while(u8::is_ascii_digit).count();
        let port: u16 = line[start..start + digits].parse().ok()?;
        (32_768..61_000).contains(&port).then_some(start..start + digits)
    })
}

/// Runs a block; the error is how its output differs from the page.
fn run(block: &Block, network: &Network, folder: &Path) -> Result<(), String> {
    if let Some(text) =
        block.differing.iter().find(|text| !block.lines.iter().any(|line| line.contains(*text)))
    {
        return Err(format!("\"{text}\" differs in each run, but the block does not contain it"));
    }
    let steps = steps(block);
    let mut running: Vec<(&Step, Running)> = Vec::new();
    let mut interrupted = Vec::new();
    for step in &steps {
        if let Some(place) = running.iter().position(|(other, _)| other.host == step.host) {
            let (earlier, child) = running.remove(place);
            check(earlier, &end(earlier, child)?, earlier.status())?;
        }
        let mut child = start(step, network, folder);
        eventually("a word or an end", || child.has_ended() || child.has_printed());
        match step.shown.iter().any(|line| line == INTERRUPT) {
            true => interrupted.push((step, child)),
            false => running.push((step, child)),
        }
    }
    for (step, child) in running {
        check(step, &end(step, child)?, step.status())?;
    }
    for (step, child) in interrupted {
        let before: Vec<_> = step.shown.iter().take_while(|line| *line != INTERRUPT).cloned().collect();
        let lines = format!("the lines of `{}` before Ctrl-C", step.command);
        eventually(&lines, || missing(&before, &child.printed()).is_none());
        check(step, &child.signalled(libc::SIGINT), step.stated_status().unwrap_or(130))?;
    }
    Ok(())
}

/// Waits for its end.
fn end(step: &Step, mut child: Running) -> Result<Ended, String> {
    match child.child.wait_timeout(TIMEOUT).is_ok() {
        true => Ok(child.end()),
        false => Err(format!("`{}` does not end; it has printed {:?}", step.command, child.printed())),
    }
}

impl Step {
    fn status(&self) -> i32 {
        self.stated_status().unwrap_or(0)
    }

    fn stated_status(&self) -> Option<i32> {
        let status = self.shown.iter().find_map(|line| line.strip_prefix(STATUS)?.strip_suffix(')'));
        status.map(|status| status.parse().unwrap())
    }

    /// What it prints, as it is shown.
    fn output(&self) -> Vec<String> {
        let is_output = |line: &&String| *line != INTERRUPT && !line.starts_with(STATUS);
        self.shown.iter().filter(is_output).cloned().collect()
    }
}

fn start(step: &Step, network: &Network, folder: &Path) -> Running {
    let programs = Path::new(MCAST).parent().unwrap().display();
    // A pipeline has no single process that Ctrl-C could be meant for.
    let exec = if step.command.contains(['|', ';', '&', '>']) { "" } else { "exec " };
    let engines = engines().display().to_string();
    let folder = folder.display();
    let script = format!(
        "PATH={programs}:{engines}:$PATH; export XDG_CONFIG_HOME={folder}/.config; unset MCAST_CONFIG; cd {folder}; {exec}{}",
        step.command
    );
    program(network.host(&step.host), "sh", &["-c", &script], false)
}

impl Running {
    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn has_printed(&self) -> bool {
        self.printed().iter().any(|text| !text.is_empty())
    }

    fn printed(&self) -> [String; 2] {
        [self.stdout.text(), self.stderr.text()]
    }
}

fn check(step: &Step, ended: &Ended, status: i32) -> Result<(), String> {
    let printed = [ended.text().to_owned(), ended.stderr.clone()];
    let result = || {
        format!("`{}` ended with {:?} and printed:\n{}{}", step.command, ended.status, printed[0], printed[1])
    };
    if ended.status != Some(status) {
        return Err(format!("expected status {status}, but {}", result()));
    }
    match missing(&step.output(), &printed) {
        Some(line) => Err(format!("it does not print \"{line}\": {}", result())),
        None => Ok(()),
    }
}

/// Returns the first of these lines that neither stream has after the lines before it.
fn missing(shown: &[String], printed: &[String; 2]) -> Option<String> {
    let mut streams = printed.each_ref().map(|text| text.lines());
    shown
        .iter()
        .filter(|line| !line.is_empty())
        .find(|line| {
            !streams.iter_mut().any(|stream| {
                let mut ahead = stream.clone();
                let is_printed = ahead.any(|printed| matches(line, printed));
                if is_printed {
                    *stream = ahead;
                }
                is_printed
            })
        })
        .cloned()
}

/// Returns a line with single spaces between words: columns are as wide as their values.
fn narrowed(line: &str) -> String {
    let words = line.trim_start();
    let indent = &line[..line.len() - words.len()];
    [indent, &words.split_whitespace().collect::<Vec<_>>().join(" ")].concat()
}

/// Returns whether a line is as shown, where `…` matches anything.
fn matches(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (narrowed(shown), narrowed(printed));
    let mut parts = shown.trim_end().split('…');
    let Some(mut rest) = parts.next().and_then(|start| printed.trim_end().strip_prefix(start)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(start) = rest.find(part) else { return false };
        rest = &rest[start + part.len()..];
    }
    rest.ends_with(last)
}

/// A block of `sh`: a script for the first host, which must succeed.
fn run_script(block: &Block, network: &Network, folder: &Path) -> Result<(), String> {
    let command = format!("set -e; {}", block.lines.join("\n"));
    let step = Step { host: String::new(), command, shown: Vec::new() };
    check(&step, &end(&step, start(&step, network, folder))?, 0)
}

impl Block {
    /// Whether [`perform`] has something to do for it.
    fn is_performed(&self) -> bool {
        ["console", "sh"].contains(&self.info.as_str()) || self.info.contains(" from=")
    }
}

/// Carries out a block; `None` if there is nothing to do.
fn perform(block: &Block, network: &Network, folder: &Path) -> Option<Result<(), String>> {
    let words: Vec<&str> = block.info.split_whitespace().collect();
    if let Some(name) = words.iter().find_map(|word| word.strip_prefix("file=")) {
        let path = folder.join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = written.and_then(|()| fs::write(&path, block.lines.join("\n") + "\n"));
        // A settings file that others can write is refused.
        let written = written.and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)));
        return Some(written.map_err(|error| format!("{name}: {error}")));
    }
    if let Some(path) = words.iter().find_map(|word| word.strip_prefix("from=")) {
        return Some(check_excerpt(block, path));
    }
    match words[..] {
        ["console"] => Some(run(block, network, folder)),
        ["sh"] => Some(run_script(block, network, folder)),
        _ => None,
    }
}

/// Checks that a file of the project contains a block.
fn check_excerpt(block: &Block, path: &str) -> Result<(), String> {
    let text = fs::read_to_string(top().join("..").join(path)).map_err(|error| format!("{path}: {error}"))?;
    let is_there = !block.lines.is_empty() && text.contains(&block.lines.join("\n"));
    if is_there { Ok(()) } else { Err(format!("{path} has no such lines")) }
}

/// Where `cargo verify` installs the servers of engines that Debian does not have.
fn engines() -> PathBuf {
    top().join("../target/engines/bin")
}

/// Whether the programs of others are installed that a page needs. They are, where that is required.
fn has_programs(page: &str) -> bool {
    let needed = page.lines().filter_map(|line| line.strip_prefix("<!-- needs: ")?.strip_suffix(" -->"));
    let missing: Vec<&str> = needed.filter(|name| !engines().join(name).exists()).collect();
    if !missing.is_empty() {
        mcast_lab::skip(format_args!("not installed: {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// Starts a broker of Kafka; `None` if the command or the client of a page lacks it.
fn broker(network: &Network) -> Option<KafkaServer> {
    if !cfg!(feature = "kafka") {
        mcast_lab::skip("built without the feature kafka");
        return None;
    }
    KafkaServer::start(network.host("other"), "10.0.0.3", "prices", &Security::default())
}

/// Carries out the blocks of a page in their order, on a network and in a folder of their own, because they may build on
/// each other. Returns how many there were, and how the page differs from what happened.
fn follow(file: &Path) -> (usize, Vec<String>) {
    let text = fs::read_to_string(file).unwrap();
    let all = blocks(&text);
    if !all.iter().any(Block::is_performed) || !has_programs(&text) {
        return (0, Vec::new());
    }
    let (network, folder) = (Network::of(&text), tempfile::tempdir().unwrap());
    let broker = text.lines().any(|line| line == BROKER).then(|| broker(&network));
    if let Some(None) = broker {
        return (0, Vec::new());
    }
    let (mut followed, mut wrong) = (0, Vec::new());
    for block in all {
        let Some(outcome) = perform(&block, &network, folder.path()) else { continue };
        followed += 1;
        if let Err(why) = outcome {
            wrong.push(format!("{}, line {}: {why}", file.display(), block.line));
        }
    }
    (followed, wrong)
}

#[test]
fn every_command_of_the_guide_prints_the_shown_output() {
    // Findings and the reference have tests of their own.
    let is_elsewhere =
        |path: &PathBuf| ["findings", "reference"].iter().any(|part| path.starts_with(top().join(part)));
    let readme = top().join("../README.md");
    let pages = files(&top()).into_iter().chain([readme]).filter(|path| !is_elsewhere(path));
    let pages: Vec<PathBuf> = pages.collect();
    // Most of the time is spent waiting; yet each page is a network.
    let left = Mutex::new(pages.iter());
    let next = || left.lock().unwrap().next();
    let (followed, wrong): (Vec<usize>, Vec<Vec<String>>) = thread::scope(|scope| {
        let read = || std::iter::from_fn(next).map(|file| follow(file)).collect::<Vec<_>>();
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).unzip()
    });
    let (followed, wrong) = (followed.iter().sum::<usize>(), wrong.concat());
    assert!(followed >= 30, "only {followed} blocks were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn shown_output_is_compared_with_actual_output() {
    assert!(matches("a…c", "abc") && matches("…", "x") && matches("a", "a  ") && matches("…b…", "abc"));
    assert!(matches("  a   b", "  a b") && !matches("  a", "a"));
    assert!(!matches("a", "ab") && !matches("a…d", "abc") && !matches("b…", "abc"));
    let differing = ["951".to_owned(), "2.004 s".to_owned()];
    let line = "12:34:56.123456  10.0.0.1:40123 > 239.255.1.3:5000  951 datagrams in 2.004 s, 1 lost";
    let line = pattern(line, &differing);
    assert!(
        matches(&line, "01:02:03.000000 10.0.0.1:50001 > 239.255.1.3:5000 7 datagrams in 1.9 s, 1 lost"),
        "{line}"
    );
    assert!(!matches(
        &line,
        "01:02:03.000000 10.0.0.1:50001 > 239.255.1.3:5000 7 datagrams in 1.9 s, 2 lost"
    ));
    assert!(!matches(
        &line,
        "01:02:03.000000 10.0.0.1:50001 > 239.255.1.3:5001 7 datagrams in 1.9 s, 1 lost"
    ));
    let printed = ["one\ntwo\n".to_owned(), "three\n".to_owned()];
    let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(missing(&lines(&["three", "one", "", "two"]), &printed), None);
    assert_eq!(missing(&lines(&["two", "one"]), &printed), Some("one".into()));
}

#[test]
fn a_wrong_block_is_detected() {
    let network = Network::new();
    let folder = tempfile::tempdir().unwrap();
    let run = |info: &str, lines: &[&str]| {
        let lines = lines.iter().map(ToString::to_string).collect();
        run(&Block { info: info.into(), line: 1, lines, differing: Vec::new() }, &network, folder.path())
    };
    run("console", &["$ echo so it is", "so … is"]).unwrap();
    run("console", &["$ echo so it is", "so it was"]).unwrap_err();
    run("console", &["$ false"]).unwrap_err();
    let lines = ["$ echo 951 of 1000".to_owned(), "7 of 1000".to_owned()];
    let block = |differing: &str| Block {
        info: "console".into(),
        line: 1,
        lines: lines.to_vec(),
        differing: vec![differing.to_owned()],
    };
    self::run(&block("7 of"), &network, folder.path()).unwrap();
    self::run(&block("8 of"), &network, folder.path()).unwrap_err();
    run("console", &["$ false", "(status 1)", "$ true"]).unwrap();
    run(
        "console",
        &[
            "receiver$ mcast recv 239.255.1.3:5000",
            "…hello",
            "^C",
            "sender$ mcast send 239.255.1.3:5000 hello",
        ],
    )
    .unwrap();
}
