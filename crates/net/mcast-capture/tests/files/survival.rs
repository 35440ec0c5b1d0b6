//! Files whose writer is killed, or whose disk is full. Both happen to a separate process: this test program,
//! run again.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mcast_capture::{
    CaptureFile, CaptureWriter, FileError, FileErrorKind, Recorder, RecorderOptions, WriteFormat,
};
use tempfile::tempdir;

use crate::support::{OwnedFrame, datagram, read_all};

const PATH: &str = "MCAST_TEST_CAPTURE_FILE";

fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

#[test]
#[ignore = "run and killed by the test below"]
fn writes_until_killed() {
    let mut writer = CaptureWriter::create(std::env::var_os(PATH).unwrap(), WriteFormat::PcapNg).unwrap();
    let mut output = std::io::stdout();
    for number in 0.. {
        writer.write(&OwnedFrame::new(datagram(&[5; 700]), number).frame()).unwrap();
        if number % 7 == 0 {
            writer.flush().unwrap();
            writeln!(output, "safe {}", number + 1).unwrap();
        }
    }
}

#[test]
fn flushed_frames_survive_a_killed_writer() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("killed.pcapng");
    let mut child =
        again("survival::writes_until_killed").env(PATH, &path).stdout(Stdio::piped()).spawn().unwrap();
    let mut safe = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, number)) = line.split_once("safe ") {
            safe = number.parse().unwrap();
        }
        if safe > 5000 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(safe > 5000, "the writer ended before it was killed");
    let (frames, error) = read_all(CaptureFile::open(&path).unwrap());
    assert!(frames.len() >= safe, "{} of at least {safe}", frames.len());
    let harmless = |kind| matches!(kind, FileErrorKind::Truncated { .. });
    assert!(error.is_none_or(|error| harmless(error.kind())));
}

#[test]
#[ignore = "run by the test below with a file size limit"]
fn writes_until_the_size_limit() {
    let mut writer = CaptureWriter::create(std::env::var_os(PATH).unwrap(), WriteFormat::PcapNg).unwrap();
    let mut taken = 0;
    let error = loop {
        let result = writer.write(&OwnedFrame::new(datagram(&[5; 700]), taken).frame());
        taken += 1;
        if let Err(error) = result {
            break error;
        }
    };
    assert_eq!((error.kind(), writer.frames()), (FileErrorKind::System, u64::from(taken)));
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("make room")), "{error}");
    assert!(writer.pending() > 0);
    println!("taken {taken} waiting {}", writer.pending());
}

#[test]
#[ignore = "run by the test below with a file size limit"]
fn creates_files_of_which_nothing_can_be_written() {
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    let check = |error: FileError| {
        assert_eq!(
            (error.kind(), error.remedy()),
            (FileErrorKind::System, Some("make room or write elsewhere"))
        );
        assert!(!path.exists(), "an empty file remains");
    };
    check(CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap_err());
    check(CaptureWriter::create_new(&path, WriteFormat::PcapNg).unwrap_err());
    check(Recorder::create(RecorderOptions::new(&path)).unwrap_err());
    let mut pcap = CaptureWriter::create(&path, WriteFormat::Pcap).unwrap();
    pcap.write(&OwnedFrame::new(datagram(&[5; 700]), 0).frame()).unwrap();
    assert_eq!((pcap.flush().unwrap_err().kind(), pcap.unwritten()), (FileErrorKind::System, 1));
    drop(pcap);
    assert!(!path.exists(), "an empty file remains");
    std::fs::write(&path, "").unwrap();
    CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap_err();
    Recorder::create(RecorderOptions::new(&path).overwrite(true)).unwrap_err();
    assert!(path.exists(), "it existed before");
}

#[test]
fn a_new_file_of_which_nothing_can_be_written_does_not_remain() {
    let folder = tempdir().unwrap();
    let program = again("survival::creates_files_of_which_nothing_can_be_written");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\" | cat", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .env(PATH, folder.path().join("new"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn full_disk_leaves_complete_frames_and_is_reported() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("full.pcapng");
    let program = again("survival::writes_until_the_size_limit");
    // A file size limit acts like a full disk: part of the data fits, then nothing.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 700; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .env(PATH, &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find(|line| line.contains("taken ")).unwrap();
    let numbers: Vec<usize> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [taken, waiting] = numbers[..] else { panic!("{line}") };
    let (frames, error) = read_all(CaptureFile::open(&path).unwrap());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames.len(), taken - waiting);
}
