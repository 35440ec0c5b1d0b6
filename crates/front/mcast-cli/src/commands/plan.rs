//! `mcast plan`: checks a list of planned memberships.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use mcast::group::{AddressPlan, PlanCheck, PlanFinding, PlanSeverity};
use mcast_terminal::{Console, Output};

use crate::exit::{Failure, Outcome};
use crate::output::{Palette, SafeText, as_text, count_of, record, write_record};

/// Check a list of planned memberships
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The list, or a session description (`.sdp`); `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Exit status 1 also for warnings
    #[arg(long)]
    strict: bool,

    /// Print one JSON object per finding
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Each line of the list has a name, a membership in the syntax of `mcast recv`, and options. Several files form one plan.

A list:
    # Both feeds carry the same prices.
    prices-a  10.0.0.7@232.1.2.3%eth1:5000  pair=prices ttl=8
    prices-b  10.9.0.7@232.9.2.3%eth2:5001  pair=prices ttl=8
    video     239.192.1.0/28:5004           allow=shared-port

Options of a line:
  pair=NAME    one of the redundant feeds named NAME
  ttl=N        the TTL that the sender uses
  allow=ID,…   findings that are intended

Findings:
  faults     unreadable, name-twice, overlap, malformed, reserved, unassigned, documentation,
             ssm-without-source, mac-alias-of-control, scope-too-small, pair-alone, pair-same-group,
             pair-alias
  warnings   registered, in-use, not-yours, mac-alias, same-group, pair-same-port,
             pair-same-interface, pair-same-source, pair-scopes, scope-top
  notes      shared-port, kept (shown with -v)

Examples:
  mcast plan groups.txt                exit status 1 if there is a fault, for CI
  mcast plan groups.txt --strict       exit status 1 also for a warning
  mcast plan a.sdp b.sdp --json        for programs";

const MAX_LENGTH: u64 = 8 << 20;

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let mut plan = AddressPlan::default();
    for path in &arguments.files {
        plan.add(&path.display().to_string(), &text_of(path)?);
    }
    let findings = plan.check();
    let mut out = console.output();
    for finding in &findings {
        if arguments.json {
            write_record(&mut out, "finding", &FindingRecord::new(finding))?;
        } else if finding.severity() > PlanSeverity::Note || console.is_verbose() {
            print(&mut out, finding, console.palette())?;
        }
    }
    out.flush()?;
    let number = |severity| findings.iter().filter(|finding| finding.severity() == severity).count() as u64;
    let (faults, warnings) = (number(PlanSeverity::Fault), number(PlanSeverity::Warning));
    let memberships: usize = plan.entries().iter().map(|entry| entry.memberships.len()).sum();
    console.note(format_args!(
        "{} of {}: {}, {}, {}",
        count_of(memberships as u64, "membership"),
        count_of(plan.entries().len() as u64, "name"),
        count_of(faults, "fault"),
        count_of(warnings, "warning"),
        count_of(number(PlanSeverity::Note), "note"),
    ));
    Ok(Outcome::of(faults == 0 && (warnings == 0 || !arguments.strict)))
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    let is_input = path.as_os_str() == "-";
    let reader: Box<dyn Read> = if is_input {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?)
    };
    let mut bytes = Vec::new();
    let failed = || format!("cannot read {}", path.display());
    reader.take(MAX_LENGTH + 1).read_to_end(&mut bytes).with_context(failed)?;
    if bytes.len() as u64 > MAX_LENGTH {
        return Err(Failure::usage(format!("{} is too long for a plan", path.display())).into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Prints a finding in the format of compilers, so that editors and CI find the line.
fn print(out: &mut Output, finding: &PlanFinding, palette: &Palette) -> io::Result<()> {
    let style = match finding.severity() {
        PlanSeverity::Fault => palette.bad,
        PlanSeverity::Warning => palette.warning,
        PlanSeverity::Note => palette.dim,
    };
    let Palette { dim, .. } = *palette;
    let (severity, id) = (finding.severity(), finding.check);
    // The message quotes the file, so it is escaped.
    let message = SafeText::new(finding.message.as_bytes());
    write!(out, "{}: {style}{severity}{style:#}: {message} {dim}[{id}]{dim:#}", finding.line)?;
    match &finding.reference {
        Some(reference) => writeln!(out, " {dim}({reference}){dim:#}"),
        None => writeln!(out),
    }
}

record! {
    fn new(finding: &'a PlanFinding) {}

    /// One object per finding, ordered by file and line.
    struct FindingRecord<'a> {
        /// File, as given on the command line
        file: &'a str = &finding.line.file,
        /// Line number, from 1
        line: usize = finding.line.number,
        /// Severity; the exit status is 1 for faults, and with `--strict` also for warnings
        #[serde(serialize_with = "as_text")]
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("enum" = ["fault", "warning", "note"])))]
        severity: PlanSeverity = finding.severity(),
        /// Stable ID of the finding; `allow=ID` on the line permits it there
        #[serde(serialize_with = "as_text")]
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        id: PlanCheck = finding.check,
        /// Name on the line; null if it could not be parsed
        name: Option<&'a str> = finding.name.as_deref(),
        /// Description of the problem
        message: &'a str = &finding.message,
        /// Document that states the rule; null if there is none
        reference: Option<&'a str> = finding.reference.as_deref(),
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<FindingRecord<'_>>("plan-finding", "Finding in a plan (`mcast plan --json`)")
        .event("finding"),
}
