//! Recordings in one file and in series of files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mcast_capture::{
    CaptureFile, CaptureStatistics, CapturedInterface, FileErrorKind, RecordedFile, Recorder, RecorderEvent,
    RecorderOptions,
};
use mcast_packet::LinkType;
use tempfile::tempdir;

use crate::support::{OwnedFrame, datagram, index, read_all};

/// Records `count` frames of about 1,000 bytes, and returns the complete files.
fn record(options: RecorderOptions, count: u32) -> Vec<RecordedFile> {
    let mut recorder = Recorder::create(options).unwrap();
    let mut files = Vec::new();
    for number in 0..count {
        let frame = OwnedFrame::new(datagram(&[7; 958]), number);
        assert!(recorder.write(&frame.frame()));
        while let Some(event) = recorder.next_event() {
            let RecorderEvent::Completed(file) = event else { panic!("{event:?}") };
            files.push(file);
        }
    }
    files.push(recorder.finish());
    files
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn frames_in(path: &Path) -> usize {
    let (frames, error) = read_all(CaptureFile::open(path).unwrap());
    assert!(error.is_none(), "{error:?}");
    frames.len()
}

#[test]
fn files_stay_below_their_size_and_lose_nothing() {
    let folder = tempdir().unwrap();
    let files = record(RecorderOptions::new(folder.path().join("day.pcapng")).max_bytes(10_000), 50);
    assert!(files.len() > 5, "{files:?}");
    let mut all = 0;
    for file in &files {
        assert_eq!((file.bytes, file.unwritten), (length(&file.path), 0));
        assert!(file.bytes <= 10_000 && file.failure.is_none(), "{file:?}");
        assert_eq!(frames_in(&file.path) as u64, file.frames);
        all += file.frames;
    }
    assert_eq!(all, 50);
    let names: Vec<_> = files.iter().map(|file| file.path.file_name().unwrap().to_str().unwrap()).collect();
    assert!(names[0].starts_with("day_00001_") && names[1].starts_with("day_00002_"), "{names:?}");
}

#[test]
fn the_oldest_files_are_deleted_including_those_of_earlier_recordings() {
    let folder = tempdir().unwrap();
    let options = RecorderOptions::new(folder.path().join("ring.pcapng")).max_bytes(10_000).keep(2);
    let first = record(options.clone(), 20);
    let second = record(options, 20);
    let exist: Vec<bool> = first.iter().chain(&second).map(|file| file.path.exists()).collect();
    assert_eq!(exist, [vec![false; exist.len() - 2], vec![true; 2]].concat());
}

#[test]
fn recordings_that_end_before_their_first_rotation_do_not_fill_the_folder() {
    let folder = tempdir().unwrap();
    let options = RecorderOptions::new(folder.path().join("crash.pcapng")).max_bytes(10_000).keep(3);
    for run in 0..9 {
        let mut recorder = Recorder::create(options.clone()).unwrap();
        recorder.write(&OwnedFrame::new(datagram(b"x"), 1).frame());
        assert!(recorder.next_event().is_none());
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 3.min(run + 1), "while run {run} records");
        // As after a crash, it is not finished.
        drop(recorder);
    }
}

#[test]
fn a_file_ends_at_its_age_unless_it_has_no_frames() {
    let folder = tempdir().unwrap();
    let options = RecorderOptions::new(folder.path().join("old.pcapng")).max_age(Duration::ZERO);
    let mut recorder = Recorder::create(options).unwrap();
    recorder.rotate_if_due();
    assert!(recorder.next_event().is_none());
    recorder.write(&OwnedFrame::new(datagram(b"x"), 1).frame());
    recorder.rotate_if_due();
    assert!(matches!(recorder.next_event(), Some(RecorderEvent::Completed(file)) if file.frames == 1));
    assert_eq!(recorder.finish().frames, 0);
}

#[test]
fn each_file_describes_the_interfaces_and_has_their_statistics() {
    let folder = tempdir().unwrap();
    let options = RecorderOptions::new(folder.path().join("two.pcapng")).max_bytes(10_000);
    let mut recorder = Recorder::create(options).unwrap();
    recorder.describe([CapturedInterface { index: index(1), name: "eth7", link_type: LinkType::Ethernet }]);
    for dropped in [3, 4] {
        recorder.add_statistics(index(1), CaptureStatistics { dropped, ..CaptureStatistics::default() });
    }
    assert!(recorder.rotate());
    let Some(RecorderEvent::Completed(first)) = recorder.next_event() else { panic!("no file") };
    let second = recorder.finish();
    let described = |file: &RecordedFile| {
        let mut file = CaptureFile::open(&file.path).unwrap();
        while file.next().unwrap().is_some() {}
        file.interfaces().iter().map(|each| (each.name.clone(), each.dropped)).collect::<Vec<_>>()
    };
    assert_eq!(described(&first), [(Some("eth7".to_owned()), Some(7))]);
    assert_eq!(described(&second), [(Some("eth7".to_owned()), None)]);
}

#[test]
fn an_existing_file_is_overwritten_only_on_request() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("once.pcapng");
    record(RecorderOptions::new(&path), 3);
    let error = Recorder::create(RecorderOptions::new(&path)).unwrap_err();
    assert_eq!(error.kind(), FileErrorKind::AlreadyExists);
    assert_eq!(frames_in(&path), 3);
    let mut again = Recorder::create(RecorderOptions::new(&path).overwrite(true)).unwrap();
    assert!(!again.rotate());
    assert_eq!(again.finish().frames, 0);
    assert_eq!(frames_in(&path), 0);
}

#[test]
fn a_series_that_cannot_continue_stays_in_its_file() {
    let folder = tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let mut recorder =
        Recorder::create(RecorderOptions::new(inner.join("stay.pcapng")).max_bytes(10_000)).unwrap();
    let moved = folder.path().join("moved");
    fs::rename(&inner, &moved).unwrap();
    for _ in 0..2 {
        assert!(recorder.rotate());
    }
    let events: Vec<_> = std::iter::from_fn(|| recorder.next_event()).collect();
    let [RecorderEvent::NotRotated(error)] = &events[..] else { panic!("{events:?}") };
    assert!(error.to_string().starts_with("cannot begin "), "{error}");
    assert!(recorder.write(&OwnedFrame::new(datagram(b"x"), 1).frame()));
    assert_eq!(recorder.finish().frames, 1);
}
