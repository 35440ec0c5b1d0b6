use std::fs;
use std::path::PathBuf;

use super::rows::{Row, Space, read_registry, write_registry};
use super::{check, csv, date_in};

/// A registry file in the folder for temporary files, removed when the test ends.
struct File(PathBuf);

impl File {
    fn with_text(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcast-registry-{}-{name}.csv", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn rows(&self) -> Vec<Row> {
        read_registry(&self.0).unwrap()
    }

    fn error(&self) -> String {
        format!("{:#}", read_registry(&self.0).unwrap_err())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn committed_tables_match_the_registry_files() {
    check().unwrap();
}

#[test]
fn reads_the_ipv4_format_of_iana() {
    let file = File::with_text(
        "iana4",
        "Address(es),Description,References,Change Controller,Date Registered,Last Reviewed\r\n\
         224.0.0.4,DVMRP    Routers,[RFC1075][Jon_Postel],,,\r\n\
         224.0.0.70-224.0.0.100,Unassigned,,,,\r\n\
         224.0.2.1,\"\"\"rwho\"\" Group, BSD\",[RFC1119][RFC5905],[Somebody],2001-02-03,\r\n\
         2,SLPv2 Discovery,[Erik_Guttman],,2001-12-01,\r\n",
    );
    let rows = file.rows();
    assert_eq!(rows.len(), 3, "unassigned rows are omitted");
    assert_eq!((rows[0].description.as_str(), rows[0].rfcs.as_slice()), ("DVMRP Routers", &[1075][..]));
    assert_eq!(
        (rows[1].description.as_str(), rows[1].registered.as_str()),
        ("\"rwho\" Group, BSD", "2001-02-03")
    );
    assert_eq!((rows[2].space, rows[2].first), (Space::Relative, 2));
}

#[test]
fn reads_the_ipv6_format_of_iana() {
    let file = File::with_text(
        "iana6",
        "Address(s),Description,Reference,Date Registered,Last Reviewed\n\
         FF02:0:0:0:0:2:FF00::/104,Node Information Queries,[RFC4620],,\n\
         FF0X:0:0:0:0:0:0:140-FF0X:0:0:0:0:0:0:14F,EPSON-disc-set,[Seiko_Epson_Corp],2010-02-26,\n\
         FF0X::1:1000/118,\"Service Location, Version 2\",[RFC3111],,\n",
    );
    let rows = file.rows();
    assert_eq!(rows[0].last - rows[0].first, 0x00ff_ffff);
    assert!(!rows[0].any_scope && rows[1].any_scope && rows[2].any_scope);
    assert_eq!((rows[1].first, rows[1].last), (0xff << 120 | 0x140, 0xff << 120 | 0x14f));
    assert_eq!(rows[2].last & 0xffff, 0x13ff);
}

#[test]
fn written_rows_are_read_back_unchanged() {
    let first = File::with_text(
        "first",
        "addresses,description,references,registered\n\
         224.0.0.1,\"All, \"\"really\"\" all\",rfc1112,1990-01-01\nrelative 3,MZAP,,\n\
         ff0x::101-ff0x::102,Time,rfc5905,\nff05::2,All Routers,rfc4291,\n",
    );
    let again = File::with_text("again", &write_registry(&first.rows()));
    assert_eq!(first.rows(), again.rows());
}

#[test]
fn errors_name_the_reason() {
    for (name, text, reason) in [
        ("columns", "Number,Keyword\n2,IGMP\n", "unknown column \"Number\""),
        ("no-references", "addresses,description\n224.0.0.1,All\n", "no column for References"),
        ("short", "addresses,description,references\n224.0.0.1,All\n", "has 2 fields where the header has 3"),
        ("address", "addresses,description,references\nhello,All,\n", "\"hello\" is not an address"),
        (
            "backwards",
            "addresses,description,references\n224.0.0.9-224.0.0.1,All,\n",
            "ends before it starts",
        ),
        ("prefix", "addresses,description,references\nff02::1/104,All,\n", "bits set beyond its prefix"),
        ("empty", "", "the file is empty"),
        ("quote", "addresses,description,references\n\"224.0.0.1,All,\n", "a quote is not closed"),
    ] {
        let error = File::with_text(name, text).error();
        assert!(error.contains(reason), "{name}: {error}");
    }
}

#[test]
fn fields_keep_commas_quotes_and_line_ends_inside_quotes() {
    let records = csv::parse("a,\"b\"\"c,d\",\"e\nf\"\r\ng,,\n").unwrap();
    assert_eq!(records, [vec!["a", "b\"c,d", "e\nf"], vec!["g", "", ""]]);
    assert!(csv::parse("a,\"b\"c\n").is_err());
}

#[test]
fn dates_are_found_at_the_end_of_names_only() {
    assert_eq!(date_in("iana-ipv4-multicast-2024-02-02").as_deref(), Some("2024-02-02"));
    assert_eq!(date_in("ipv6-2015-10").as_deref(), Some("2015-10"));
    assert_eq!(date_in("multicast-addresses-1"), None);
}
