//! Man pages and completions come from the definitions.

use std::fs;

#[test]
fn man_pages_and_completions_are_written_for_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    mcast_cli::write_documents(folder.path()).unwrap();

    let page = |name: &str| fs::read_to_string(folder.path().join("man").join(name)).unwrap();
    for subcommand in mcast_cli::command().get_subcommands() {
        let text = page(&format!("mcast-{}.1", subcommand.get_name()));
        assert!(text.contains(".SH SYNOPSIS") && text.contains("Examples"), "{}", subcommand.get_name());
    }
    let formats = page("mcast-recv.1");
    let (_, notes) = formats.split_once(".SH NOTES\n.nf\nFormats:\n").expect(&formats);
    assert!(notes.contains("\n  mcast recv mdns ssdp ") && notes.contains("\n.fi\n"), "{notes}");
    let overview = page("mcast.1");
    assert!(overview.contains("mcast\\-recv(1)") && overview.contains("130 Ctrl\\-C"), "{overview}");
    for entry in fs::read_dir(folder.path().join("man")).unwrap() {
        let path = entry.unwrap().path();
        assert!(!fs::read(&path).unwrap().contains(&0x1b), "{} has colours in it", path.display());
    }
    for name in ["mcast.bash", "_mcast", "mcast.fish"] {
        let text = fs::read_to_string(folder.path().join("completions").join(name)).unwrap();
        assert!(text.contains("exec-limit"), "{name}");
    }
}

#[test]
fn the_same_definitions_give_the_same_documents() {
    let write = || {
        let folder = tempfile::tempdir().unwrap();
        mcast_cli::write_documents(folder.path()).unwrap();
        fs::read_to_string(folder.path().join("man/mcast-recv.1")).unwrap()
    };
    assert_eq!(write(), write());
}
