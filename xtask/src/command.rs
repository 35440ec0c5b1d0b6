//! Running other programs: their two output streams kept as one text, in the order written.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// What a program that ran to its end left.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Whether it exited with status 0.
    pub(crate) success: bool,
    /// How it ended, in words.
    pub(crate) status: String,
    /// Standard output and standard error, interleaved as written.
    pub(crate) output: String,
}

/// The cargo that runs this task, called from the top of the checkout.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    program(cargo, arguments)
}

/// Any other program, called from the top of the checkout.
pub(crate) fn program<S: AsRef<OsStr>>(
    name: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(crate::root()).stdin(Stdio::null());
    command
}

/// Runs `command` to its end. With `echo`, each line is also shown as it comes.
pub(crate) fn finish(mut command: Command, echo: bool) -> Result<Finished> {
    let words = words(&command);
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command.stdout(writer.try_clone().context("doubling a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting `{words}`"))?;
    // The command holds the write ends; the reader would never see the end while it lives.
    drop(command);
    let output = collect(BufReader::new(reader), echo).with_context(|| format!("reading `{words}`"))?;
    let status = child.wait().with_context(|| format!("waiting for `{words}`"))?;
    Ok(Finished { success: status.success(), status: status.to_string(), output })
}

/// Runs `command` to its end, quietly, for so long at most: `None` says that it was ended because it took longer.
pub(crate) fn finish_within(mut command: Command, limit: Duration) -> Result<Option<Finished>> {
    let words = words(&command);
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().context("doubling a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting `{words}`"))?;
    drop(command);
    let (ends, end) = std::sync::mpsc::channel();
    let output = std::thread::spawn(move || {
        let output = collect(BufReader::new(reader), false);
        // Whoever waited may have gone.
        let _ = ends.send(());
        output
    });
    let in_time = end.recv_timeout(limit).is_ok();
    if !in_time {
        child.kill().with_context(|| format!("ending `{words}`"))?;
    }
    let status = child.wait().with_context(|| format!("waiting for `{words}`"))?;
    if !in_time {
        return Ok(None);
    }
    let output = output.join().map_err(|_| anyhow::anyhow!("reading `{words}`"))??;
    Ok(Some(Finished { success: status.success(), status: status.to_string(), output }))
}

/// Runs `command` quietly; true when it could be started and exited with status 0.
pub(crate) fn succeeds(command: Command) -> bool {
    finish(command, false).is_ok_and(|finished| finished.success)
}

/// The command as a person would type it, its added environment first.
pub(crate) fn words(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
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
    fn both_streams_are_kept_in_the_order_written() {
        let finished =
            finish(program("sh", ["-c", "echo one; echo two >&2; echo three; exit 3"]), false).unwrap();

        assert_eq!(finished.output, "one\ntwo\nthree\n");
        assert!(!finished.success);
        assert_eq!(finished.status, "exit status: 3");
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let (quick, slow) = (program("echo", ["one"]), program("sleep", ["60"]));

        let finished = finish_within(quick, Duration::from_secs(30)).unwrap().unwrap();
        assert_eq!((finished.success, &finished.output[..]), (true, "one\n"));
        assert!(finish_within(slow, Duration::from_millis(50)).unwrap().is_none());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let error = finish(program("no-such-program-here", ["x"]), false).unwrap_err();

        assert!(format!("{error:#}").contains("no-such-program-here x"), "{error:#}");
    }

    #[test]
    fn words_show_the_environment_and_quote_spaces() {
        let mut command = program("cargo", ["doc", "a b"]);
        command.env("RUSTDOCFLAGS", "-D warnings");

        assert_eq!(words(&command), "RUSTDOCFLAGS='-D warnings' cargo doc 'a b'");
    }
}
