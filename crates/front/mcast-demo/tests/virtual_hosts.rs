//! The demonstration on virtual hosts, as programs see it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::io;

use mcast_demo::{DemoError, Scene, VIRTUAL_HOSTS, on_virtual_hosts};

#[test]
fn every_step_is_at_a_known_host_and_as_expected() {
    let (mut acts, mut checks) = (Vec::new(), 0);
    on_virtual_hosts(&mut |scene| {
        match scene {
            Scene::Act { name, .. } => acts.push(name),
            Scene::Step { host, event, expected } => {
                assert!(VIRTUAL_HOSTS.contains(&host) || host == "switch", "{host}");
                assert!(
                    expected.is_none_or(|expected| expected == event),
                    "{host} {}: {event}",
                    event.verb()
                );
                checks += usize::from(expected.is_some());
            }
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(acts, ["flooding", "snooping", "two interfaces"]);
    assert_eq!(checks, 36);
}

#[test]
fn a_scene_that_cannot_be_shown_ends_the_demonstration() {
    let mut scenes = 0;
    let ended = on_virtual_hosts(&mut |_| {
        scenes += 1;
        Err(io::ErrorKind::BrokenPipe.into())
    });
    let Err(DemoError::System(error)) = ended else { panic!("{ended:?}") };
    assert_eq!((error.kind(), scenes), (io::ErrorKind::BrokenPipe, 1));
}
