//! The help of `mcast discover`.

use std::process::Command;

use snapbox::{assert_data_eq, file};

use crate::support::MCAST;

#[test]
fn the_help_is_as_recorded() {
    let help = |option: &str| {
        let output = Command::new(MCAST).args(["discover", option]).env_remove("COLUMNS").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_data_eq!(help("--help"), file!["help/discover.txt"]);
    assert!(help("-h").lines().count() <= 45);
}
