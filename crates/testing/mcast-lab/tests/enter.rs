//! A program that calls [`mcast_lab::enter`] before it has threads. It has no test harness, because a harness starts
//! threads.

#[cfg(target_os = "linux")]
fn main() {
    // Test runners request the list of tests first.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("enter_before_threads: test");
        }
        return;
    }
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
#[allow(clippy::unwrap_used)]
mod linux {
    use std::{
        fs,
        os::unix::{
            fs::{MetadataExt, PermissionsExt},
            process::CommandExt,
        },
        process::Command,
    };

    pub(crate) fn main() {
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        mcast_lab::enter().unwrap();
        let lab = mcast_lab::Lab::new().unwrap();
        let host = lab.host("a").unwrap();
        // There is no warden: closures run in the process itself, so their children can be waited for anywhere.
        assert_eq!(host.run(std::process::id).unwrap(), std::process::id());
        let mut child = host.run(|| Command::new("true").spawn().unwrap()).unwrap();
        assert!(child.wait().unwrap().success());
        if is_root {
            repeat_as_nobody();
        }
    }

    fn repeat_as_nobody() {
        let directory = std::env::temp_dir().join(format!("mcast-lab-enter-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let copy = directory.join("enter");
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        for path in [&directory, &copy] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let status = Command::new(&copy).current_dir("/").uid(65534).gid(65534).status();
        fs::remove_dir_all(&directory).unwrap();
        assert!(status.unwrap().success());
    }
}
