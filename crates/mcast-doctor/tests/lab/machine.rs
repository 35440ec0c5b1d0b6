//! What is seen only by counters and files.

use mcast_doctor::explain_capture;

#[test]
fn what_is_no_capture_file_is_refused_in_words() {
    let error = explain_capture("/dev/null").unwrap_err();
    assert!(!error.to_string().is_empty());
}
