//! Man pages and completions are generated from the definitions.

#[path = "../../examples/generate-docs/documents/mod.rs"]
mod generator;

use std::fs;

#[test]
fn every_subcommand_has_a_man_page_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    generator::write(folder.path()).unwrap();

    let page = |name: &str| fs::read_to_string(folder.path().join("man").join(name)).unwrap();
    for subcommand in mcast_cli::command().get_subcommands() {
        let name = subcommand.get_name();
        let text = page(&format!("mcast-{name}.1"));
        for section in ["NAME", "SYNOPSIS", "EXAMPLES", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(text.contains(&format!(".SH {section}\n")), "{name}: {section}");
        }
    }
    let formats = page("mcast-recv.1");
    let (_, examples) = formats.split_once(".SH EXAMPLES\n").expect(&formats);
    assert!(examples.contains("\\fBmcast recv mdns ssdp\\fR\n"), "{examples}");
    let synopsis = "[\\fB\\-i\\fR, \\fB\\-\\-interface\\fR \\fI<INTERFACE>\\fR]";
    assert!(formats.contains(synopsis), "{formats}");
    let overview = page("mcast.1");
    assert!(overview.contains("mcast\\-recv(1)") && overview.contains("Ctrl\\-C"), "{overview}");
    for page in [overview, page("mcast-lab.1"), page("mcast-perf.1")] {
        assert!(!page.contains("subcommands"), "{page}");
    }
    for entry in fs::read_dir(folder.path().join("man")).unwrap() {
        let path = entry.unwrap().path();
        assert!(!fs::read(&path).unwrap().contains(&0x1b), "{} has colours in it", path.display());
    }
    for name in ["mcast.bash", "_mcast", "mcast.fish"] {
        let text = fs::read_to_string(folder.path().join("completions").join(name)).unwrap();
        assert!(text.contains("MCAST_COMPLETE") && text.contains("mcast"), "{name}");
    }
}

#[test]
fn the_same_definitions_give_the_same_documents() {
    let write = || {
        let folder = tempfile::tempdir().unwrap();
        generator::write(folder.path()).unwrap();
        fs::read_to_string(folder.path().join("man/mcast-recv.1")).unwrap()
    };
    assert_eq!(write(), write());
}

#[test]
fn man_pages_fit_eighty_columns() {
    let folder = tempfile::tempdir().unwrap();
    generator::write(folder.path()).unwrap();
    for entry in fs::read_dir(folder.path().join("man")).unwrap() {
        let path = entry.unwrap().path();
        let page = fs::read_to_string(&path).unwrap();
        let kept = page.split("\n.nf\n").skip(1).map(|rest| rest.split_once("\n.fi").unwrap().0);
        let indented = kept.flat_map(str::lines).map(|line| 7 + line.replace('\\', "").chars().count());
        assert!(indented.max().unwrap_or(0) <= 80, "{}", path.display());
    }
}
