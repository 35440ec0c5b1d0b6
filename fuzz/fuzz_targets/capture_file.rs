//! Capture files of any bytes: reading never panics, comes to an end, and gives no more than there is.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use mcast_capture::CaptureFile;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = CaptureFile::from_reader(Cursor::new(bytes.to_vec()), "memory") else { return };
    let mut sum = 0;
    while let Ok(Some(frame)) = file.next() {
        let (interface, length) = (frame.interface, frame.bytes.len());
        sum += length;
        assert!(length <= frame.original_length);
        assert!(file.interface(interface).is_some());
    }
    assert!(sum <= bytes.len());
    assert!(matches!(file.next(), Ok(None)), "an end is an end");
});
