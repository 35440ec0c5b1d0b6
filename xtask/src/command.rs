//! Running other programs with their standard output and standard error interleaved.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// The result of a program that has exited.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Whether it exited with status 0.
    pub(crate) success: bool,
    /// Its exit status, as text.
    pub(crate) status: String,
    /// Standard output and standard error, interleaved in the order written.
    pub(crate) output: String,
}

/// A command for the cargo that runs this task, in the root of the checkout.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    program(cargo, arguments)
}

/// A command for rustup, without what the cargo that runs this task has set for its own compiler.
pub(crate) fn rustup(arguments: &[&str]) -> Command {
    let mut command = program("rustup", arguments);
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}

/// What builds from scratch without anybody who attaches a debugger, in continuous integration, needs less of. The client
/// of Kafka, which is C, is compiled in half the time without optimizations; ciphers keep theirs.
const FOR_ONE_BUILD: [(&str, &str); 5] = [
    ("CARGO_INCREMENTAL", "0"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CFLAGS", "-O0 -g0"),
    ("CXXFLAGS", "-O0 -g0"),
    ("HOST_CFLAGS", "-O3"),
];

/// Whether the environment says that this is continuous integration.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// What cargo has set for this program. With it, build scripts that look at it, as that of `ring` does, would run again after each
/// call of cargo by hand, and everything above them would be compiled again.
const OF_THIS_PROGRAM: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// A command for any other program, in the root of the checkout.
pub(crate) fn program<S: AsRef<OsStr>>(
    name: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(crate::root()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if OF_THIS_PROGRAM.iter().any(|head| name.to_string_lossy().starts_with(head)) {
            command.env_remove(name);
        }
    }
    if is_ci() {
        command.envs(FOR_ONE_BUILD.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()));
    }
    command
}

/// Runs `command` and waits for it. With `echo`, also prints each line immediately.
pub(crate) fn finish(mut command: Command, echo: bool) -> Result<Finished> {
    let line = command_line(&command);
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command.stdout(writer.try_clone().context("duplicating a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting `{line}`"))?;
    // The command holds the write ends of the pipe; until it is dropped, the reader sees no end of file.
    drop(command);
    let output = collect(BufReader::new(reader), echo).with_context(|| format!("reading `{line}`"))?;
    let status = child.wait().with_context(|| format!("waiting for `{line}`"))?;
    Ok(Finished { success: status.success(), status: status.to_string(), output })
}

/// Runs `command` quietly for at most `limit`. Returns `None` if it was killed because it took longer.
pub(crate) fn finish_within(mut command: Command, limit: Duration) -> Result<Option<Finished>> {
    let line = command_line(&command);
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().context("duplicating a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting `{line}`"))?;
    drop(command);
    let (done_sender, done) = std::sync::mpsc::channel();
    let output = std::thread::spawn(move || {
        let output = collect(BufReader::new(reader), false);
        // After a timeout, the receiver no longer exists.
        let _ = done_sender.send(());
        output
    });
    let in_time = done.recv_timeout(limit).is_ok();
    if !in_time {
        child.kill().with_context(|| format!("ending `{line}`"))?;
    }
    let status = child.wait().with_context(|| format!("waiting for `{line}`"))?;
    if !in_time {
        return Ok(None);
    }
    let output = output.join().map_err(|_| anyhow::anyhow!("reading `{line}`"))??;
    Ok(Some(Finished { success: status.success(), status: status.to_string(), output }))
}

/// Runs `command` quietly; returns whether it could be started and exited with status 0.
pub(crate) fn succeeds(command: Command) -> bool {
    finish(command, false).is_ok_and(|finished| finished.success)
}

/// Formats the command as it would be typed in a shell, with its added environment first.
pub(crate) fn command_line(command: &Command) -> String {
    let is_general = |name: &OsStr| FOR_ONE_BUILD.iter().any(|(general, _)| *general == name);
    let set = command.get_envs().filter(|(name, _)| !is_general(name)).filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or_else(|| command.get_program());
    let called = std::iter::once(program).chain(command.get_args());
    set.chain(called.map(|word| quoted(&word.to_string_lossy()))).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

fn collect(mut reader: impl BufRead, echo: bool) -> Result<String> {
    let mut output = String::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if echo {
            anstream::print!("{text}");
        }
        output.push_str(&text);
        line.clear();
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_are_interleaved_in_the_order_written() {
        let finished =
            finish(program("sh", ["-c", "echo one; echo two >&2; echo three; exit 3"]), false).unwrap();

        assert_eq!(finished.output, "one\ntwo\nthree\n");
        assert!(!finished.success);
        assert_eq!(finished.status, "exit status: 3");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let (quick, slow) = (program("echo", ["one"]), program("sleep", ["60"]));

        let finished = finish_within(quick, Duration::from_secs(30)).unwrap().unwrap();
        assert_eq!((finished.success, &finished.output[..]), (true, "one\n"));
        assert!(finish_within(slow, Duration::from_millis(50)).unwrap().is_none());
    }

    #[test]
    fn the_error_for_a_missing_program_names_it() {
        let error = finish(program("no-such-program-here", ["x"]), false).unwrap_err();

        assert!(format!("{error:#}").contains("no-such-program-here x"), "{error:#}");
    }

    /// Cargo sets these for this test, too.
    #[test]
    fn programs_do_not_see_what_cargo_has_set_for_this_one() {
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let finished = finish(program("env", [""; 0]), false).unwrap();

        assert!(finished.output.contains("PATH="), "{}", finished.output);
        let heads = |line: &&str| OF_THIS_PROGRAM.iter().any(|head| line.starts_with(head));
        assert_eq!(finished.output.lines().find(heads), None);
    }

    #[test]
    fn command_lines_show_the_environment_and_quote_spaces() {
        let mut command = Command::new("cargo");
        command.args(["doc", "a b"]).env("RUSTDOCFLAGS", "-D warnings");

        assert_eq!(command_line(&command), "RUSTDOCFLAGS='-D warnings' cargo doc 'a b'");
    }
}
