//! The options that other spellings replace: an error that names the new one, for scripts that were written before.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The subcommand, the former option, and how it is written now.
const REPLACED: &[(&str, &str, &str)] = &[
    ("bridge", "--credentials", "--password-file FILE"),
    ("bridge", "--history", "--buffer SIZE"),
    ("bridge", "--serve-rate", "--serve-history ADDRESS:PORT:RATE"),
    ("bridge", "--tls-ca", "--tls ca=FILE"),
    ("bridge", "--tls-certificate", "--tls certificate=FILE,key=FILE"),
    ("bridge", "--tls-key", "--tls certificate=FILE,key=FILE"),
    ("bridge", "--tls-server-name", "--tls name=NAME"),
    ("doctor", "--every", "--watch=TIME"),
    ("doctor", "--for", "--soak=TIME"),
    ("doctor", "--peer", "--probe=ADDRESS"),
    ("doctor", "--ssh", "--fleet HOST,..."),
    ("doctor", "--sudo", "--remote-command 'sudo mcast'"),
    ("publish", "--ack-lost", "--ack WHO:report"),
    ("publish", "--ack-when", "--ack WHO:processed"),
    ("publish", "--congestion", "--flow slowest:keep-rate"),
    ("publish", "--evict-below", "--rate auto:RATE"),
    ("publish", "--fec-delay", "--fec K+M:TIME"),
    ("publish", "--files", "--input files"),
    ("publish", "--lines", "--input lines"),
    ("publish", "--one-way", "--flow one-way"),
    ("publish", "--records", "--input records"),
    ("publish", "--serve-rate", "--serve-history ADDRESS:PORT:RATE"),
    ("publish", "--snapshot-port", "--snapshot PORT:FILE"),
    ("publish", "--to", "--path HOST,..."),
    ("subscribe", "--confirm-fd", "--confirm FD"),
    ("subscribe", "--max-snapshot", "--from snapshot:SIZE"),
    ("subscribe", "--on-loss", "--policy reliable:stop"),
    ("subscribe", "--raw", "--output raw"),
    ("subscribe", "--records", "--output records"),
    ("subscribe", "--signed", "--signed-by announced"),
    ("subscribe", "--trust-pipe", "--confirm pipe"),
];

/// Adds to an error about an unknown option which one replaces it.
pub(crate) fn name_successor(mut error: clap::Error, subcommand: &str) -> clap::Error {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return error };
    let option = argument.split('=').next().unwrap_or_default();
    let replaced = REPLACED.iter().find(|(of, former, _)| *of == subcommand && *former == option);
    if let (ErrorKind::UnknownArgument, Some((_, former, now))) = (error.kind(), replaced) {
        let tip = StyledStr::from(format!("{former} is now written {now}"));
        // Similar names, and how to pass the text as a value, are not what was meant.
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_option_fails_and_names_its_successor() {
        let definition = crate::cli::source();
        for (subcommand, former, now) in REPLACED {
            let words = ["mcast", subcommand, former].map(Into::into);
            let error = crate::cli::parse(words).unwrap_err().to_string();
            assert!(error.contains(&format!("unexpected argument '{former}' found")), "{error}");
            assert!(error.contains(&format!("{former} is now written {now}")), "{error}");
            let name = now.trim_start_matches('-').split([' ', '=']).next();
            let subcommand = definition.find_subcommand(subcommand).unwrap();
            assert!(subcommand.get_arguments().any(|argument| argument.get_long() == name), "{now}");
        }
    }

    #[test]
    fn an_option_of_another_subcommand_is_not_replaced() {
        let error = crate::cli::parse(["mcast", "recv", "--ssh", "a"].map(Into::into)).unwrap_err();
        assert!(!error.to_string().contains("is now written"), "{error}");
    }
}
