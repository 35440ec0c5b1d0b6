//! The help of `mcast sniff`.

use std::process::Command;

use snapbox::{assert_data_eq, file};

use crate::support::MCAST;

#[test]
fn help_of_sniff() {
    let output = Command::new(MCAST).args(["sniff", "--help"]).output().unwrap();
    assert_data_eq!(String::from_utf8(output.stdout).unwrap(), file!["help/sniff.txt"]);
}
