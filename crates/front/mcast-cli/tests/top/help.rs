//! The help of `mcast top`.

use snapbox::{assert_data_eq, file};

use crate::support::MCAST;

#[test]
fn help_of_top() {
    let output = std::process::Command::new(MCAST)
        .args(["top", "--help"])
        .env_remove("CLICOLOR_FORCE")
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    assert_data_eq!(String::from_utf8(output.stdout).unwrap(), file!["help/top.txt"]);
}
