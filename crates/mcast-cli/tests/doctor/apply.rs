//! `--apply`: one remedy, and whether it helped.

use crate::patient::{GROUP, Ward};

#[test]
fn a_remedy_is_applied_and_looked_after() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--apply", "reverse-path-filter", "--yes"]).succeeded();
    assert!(
        ended.stderr.contains("running: ") && ended.stderr.contains("reverse-path-filter is gone"),
        "{ended:?}"
    );
    ward.doctor(&[GROUP, "-W", "1s"]).succeeded();
}

#[test]
fn nothing_is_applied_without_asking() {
    let ward = Ward::new().streaming_from_afar().filtering();
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--apply", "reverse-path-filter"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--yes") && !ended.stderr.contains("running: "), "{ended:?}");
    assert_eq!(ward.doctor(&[GROUP, "-W", "1s"]).status, Some(1));
}

#[test]
fn what_was_not_found_is_not_cured() {
    let ward = Ward::new().streaming();
    let ended = ward.doctor(&[GROUP, "-W", "1s", "--apply", "reverse-path-filter", "--yes"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("reverse-path-filter was not found"), "{ended:?}");
}
