//! `mcast keys`: makes, shows and rotates the secrets of groups, the signing keys of publishers and the keys of tunnels.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use mcast_stream::{KeyFile, KeyFileAccessError, KeyFileContent};
use mcast_terminal::Console;
use serde::Serialize;

use crate::arguments::{create_tunnel_key, is_tunnel_key, read_tunnel_keys, warn_if_readable};
use crate::exit::{Failure, Outcome};
use crate::output::write_record;

/// Make, show and rotate secrets and signing keys
///
/// A group secret seals a stream; all members share it. A signing key proves that the publisher sent a message, and no
/// other member of the group; subscribers need only its public key. A tunnel key authenticates one relay of a tunnel;
/// its peers need only the public key.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Arguments {
    /// Create a key file, which only its owner can read
    #[command(after_help = MAKE_EXAMPLES)]
    Make {
        /// The new file
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// Make a publisher's signing key instead of a group secret, and print its public key
        #[arg(long)]
        signing: bool,

        /// Make a relay's tunnel key, and print its public key
        #[arg(long, conflicts_with = "signing")]
        tunnel: bool,

        #[command(flatten)]
        output: Format,
    },
    /// Show what a key file contains, without the secrets
    ///
    /// For a group secret: its epoch, algorithm, and a fingerprint to compare two files. For a signing key: its public
    /// key, for `subscribe --signed-by`. For a tunnel key: its public key, for the line `peer` in the peers' files.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The key file
        #[arg(value_name = "FILE")]
        file: PathBuf,

        #[command(flatten)]
        output: Format,
    },
    /// Add a new key to a key file
    ///
    /// A running publisher uses it from the next SIGHUP on. Before that, give all subscribers the new group secret, or
    /// the public key of a signing key.
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate {
        /// The key file
        #[arg(value_name = "FILE")]
        file: PathBuf,

        #[command(flatten)]
        output: Format,
    },
    /// Remove the oldest key from a key file
    #[command(after_help = DROP_EXAMPLES)]
    Drop {
        /// The key file
        #[arg(value_name = "FILE")]
        file: PathBuf,

        #[command(flatten)]
        output: Format,
    },
}

const MAKE_EXAMPLES: &str = "\
Examples:
  mcast keys make prices.key                    the secret of a group
  mcast keys make --signing publisher.key       a signing key; prints the public key
  mcast keys make --tunnel relay.key            the key of a relay for tunnels; prints the public key";

const SHOW_EXAMPLES: &str = "\
Examples:
  mcast keys show prices.key                    epoch, algorithm and fingerprint of each secret";

const ROTATE_EXAMPLES: &str = "\
Examples:
  mcast keys rotate prices.key                  then copy the file to all members";

const DROP_EXAMPLES: &str = "\
Examples:
  mcast keys drop prices.key                    once nobody uses the oldest key any more";

/// How to print keys.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Format {
    /// Print one JSON object per key
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  mcast keys make prices.key                      a group secret, for --key of publish and subscribe
  mcast keys make --signing signing.key           a signing key, for publish --sign
  mcast keys make --tunnel relay.key              the key of a relay, for relay --tunnel-key
  mcast keys show signing.key > publisher.pub     its public key, for subscribe --signed-by
  mcast keys rotate signing.key                   add a new key, used from the next SIGHUP on
  mcast keys drop signing.key                     remove the oldest key";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match arguments {
        Arguments::Make { file, tunnel: true, output, .. } => {
            let key = create_tunnel_key(file)?;
            console.note(format_args!(
                "created {} with a new key; give the other ends of tunnels its public key, and add a line `peer NAME KEY` for each \
                 of them",
                file.display()
            ));
            print(&[KeyRecord::of_tunnel(&key)], *output, console)
        }
        Arguments::Make { file, signing, output, .. } => make(file, *signing, *output, console),
        Arguments::Show { file, output } if is_tunnel_key(file) => {
            let keys = read_tunnel_keys(file, console)?;
            let own: Vec<_> = keys.own().map(|own| KeyRecord::of_tunnel(&own.public())).into_iter().collect();
            print(&own, *output, console)
        }
        Arguments::Rotate { file, .. } | Arguments::Drop { file, .. } if is_tunnel_key(file) => {
            Err(Failure::usage(format!("{} contains the key of a relay, which has one", file.display()))
                .remedy("make another one with `mcast keys make --tunnel`, and add its public key at the other ends first")
                .into())
        }
        Arguments::Show { file, output } => show(&open(file, console)?.content()?, *output, console),
        Arguments::Rotate { file, output } => {
            let content = open(file, console)?.rotate()?;
            console.note(match &content {
                KeyFileContent::Secrets(_) => {
                    "give the file to all subscribers, send them SIGHUP, and then the publisher"
                }
                _ => "give the public keys to all subscribers, send them SIGHUP, and then the publisher",
            });
            show(&content, *output, console)
        }
        Arguments::Drop { file, output } => show(&open(file, console)?.drop_oldest()?, *output, console),
    }
}

/// Returns a key file, and warns if other users can read secrets in it.
fn open(path: &Path, console: &Console) -> Result<KeyFile, KeyFileAccessError> {
    let file = KeyFile::new(path);
    match file.content()? {
        KeyFileContent::Public(_) => Ok(file),
        KeyFileContent::Secrets(_) | KeyFileContent::Signing(_) => {
            warn_if_readable(&file, path, console);
            Ok(file)
        }
    }
}

fn make(path: &Path, is_signing: bool, format: Format, console: &Console) -> anyhow::Result<Outcome> {
    let file = KeyFile::new(path);
    let path = path.display();
    if is_signing {
        file.create_signing()?;
        console.note(format_args!("created {path} with a new signing key; give subscribers its public key"));
    } else {
        file.create()?;
        console.note(format_args!("created {path} with a new secret; copy it to all subscribers"));
    }
    show(&file.content()?, format, console)
}

/// Prints the keys, the latest one last. The lines of public keys are those of a file for `--signed-by`.
fn show(content: &KeyFileContent, format: Format, console: &Console) -> anyhow::Result<Outcome> {
    print(&keys(content), format, console)
}

fn print(keys: &[KeyRecord], format: Format, console: &Console) -> anyhow::Result<Outcome> {
    let mut out = console.output();
    for key in keys {
        if format.json {
            write_record(&mut out, "key", key)?;
        } else {
            writeln!(out, "{key}")?;
        }
    }
    out.flush()?;
    Ok(Outcome::Yes)
}

fn keys(content: &KeyFileContent) -> Vec<KeyRecord> {
    let public = |public_key: String| KeyRecord::Public { public_key };
    match content {
        KeyFileContent::Secrets(secrets) => {
            let latest = secrets.iter().map(|(epoch, _)| *epoch).max();
            let records = secrets.iter().map(|(epoch, secret)| KeyRecord::Secret {
                epoch: epoch.0,
                algorithm: secret.algorithm().name(),
                fingerprint: format!("{:016x}", secret.fingerprint()),
                seals: Some(*epoch) == latest,
            });
            records.collect()
        }
        KeyFileContent::Signing(keys) => {
            keys.iter().map(|key| public(key.public_key().to_string())).collect()
        }
        KeyFileContent::Public(keys) => keys.iter().map(|key| public(key.to_string())).collect(),
    }
}

/// One object per key of a file, the latest one last. A secret has an epoch, an algorithm and a fingerprint; a
/// signing key or its public key has the latter.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
enum KeyRecord {
    /// A secret of a group; the latest one seals.
    Secret {
        /// Epoch of a secret
        epoch: u16,
        /// Algorithm of a secret
        algorithm: &'static str,
        /// Fingerprint of a secret, 16 hexadecimal digits: equal for equal secrets
        fingerprint: String,
        /// Whether a publisher seals with this secret: the latest one of the file
        seals: bool,
    },
    /// The public key of a signing key or of a tunnel key.
    Public {
        /// Public key, for `mcast subscribe --signed-by`, or for the line `peer` of a file for `mcast relay --tunnel-key`
        public_key: String,
    },
}

impl KeyRecord {
    fn of_tunnel(key: &mcast_tunnel::PeerKey) -> Self {
        Self::Public { public_key: key.to_string() }
    }
}

impl fmt::Display for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { epoch, algorithm, fingerprint, seals } => {
                let seals = if *seals { "  seals" } else { "" };
                write!(f, "epoch {epoch}  {algorithm}  fingerprint {fingerprint}{seals}")
            }
            Self::Public { public_key } => f.write_str(public_key),
        }
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<KeyRecord>("key", "Key (`mcast keys --json`)")
        .event("key")
        .describe("kind", "Whether it is a secret of a group, or a public key"),
}
