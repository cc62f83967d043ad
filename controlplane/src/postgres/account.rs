//! Who runs Postgres: it refuses root, so as root its programs run as another user, or as root of nothing in a user namespace.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Binaries, Error};

/// The account that Postgres' programs run under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// This process's own.
    Own,
    /// Another, because this process is root.
    Other {
        /// Its name, which must be in the passwd file: initdb looks it up.
        name: String,
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// A user namespace that shows us as this user. Files stay ours outside.
    Namespace {
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
    },
}

impl Account {
    /// A command that runs `program` as this account, with nothing of our environment but a path.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            Self::Own => Command::new(program),
            Self::Other { uid, gid, .. } => {
                let mut command = Command::new(program);
                command.uid(*uid).gid(*gid);
                command
            }
            Self::Namespace { uid, gid } => {
                let mut command = unshare(*uid, *gid);
                command.arg(program);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LC_ALL", "C")
            .current_dir("/");
        command
    }

    /// Owner of the cluster's files, where it is not this process.
    pub(super) fn owner(&self) -> Option<(u32, u32)> {
        match self {
            Self::Other { uid, gid, .. } => Some((*uid, *gid)),
            Self::Own | Self::Namespace { .. } => None,
        }
    }
}

/// The first binaries that some account can run over `dir`, and that account. A cluster that exists keeps the account that owns it.
pub(super) fn choose(found: Vec<Binaries>, dir: &Path) -> Result<(Binaries, Account), Error> {
    let own = rustix::process::geteuid();
    if !own.is_root() {
        let first = found.into_iter().next().expect("find returns at least one");
        return Ok((first, unprivileged(own.as_raw())));
    }
    let owner = fs::metadata(dir.join("data")).ok().map(|meta| meta.uid()).filter(|uid| *uid != 0);
    let rooted = owner.is_none() && dir.join("data").exists();
    let users: Vec<Account> = match owner {
        // A cluster keeps its owner: a user's, which root starts now, for one.
        Some(owner) => lookup(|_, uid| uid == owner).into_iter().collect(),
        None => ["postgres", "nobody"].into_iter().filter_map(|wanted| lookup(|name, _| name == wanted)).collect(),
    };
    let mut barred = None;
    // Files of root's are of a cluster that ran in a user namespace: no other account could write them.
    for account in users.iter().filter(|_| !rooted) {
        let Account::Other { name, uid, gid } = account else { continue };
        if !known("/proc/self/uid_map", *uid) || !known("/proc/self/gid_map", *gid) {
            continue;
        }
        for binaries in &found {
            match bar(dir, *uid, *gid).or_else(|| bar(binaries.folder(), *uid, *gid)) {
                None => return Ok((binaries.clone(), account.clone())),
                Some(folder) => barred = barred.or(Some(Error::Unreachable { account: name.clone(), folder })),
            }
        }
    }
    let inside = users.iter().find_map(Account::owner).filter(|_| owner.is_none());
    if let Some((uid, gid)) = inside
        && namespaces_work(uid, gid)
    {
        let first = found.into_iter().next().expect("find returns at least one");
        return Ok((first, Account::Namespace { uid, gid }));
    }
    Err(barred.unwrap_or(Error::NoAccount))
}

/// This process's own account; or, where it has no name (as containers often run), that of a user who has one, in a namespace: initdb asks for the name.
fn unprivileged(uid: u32) -> Account {
    if lookup(|_, known| known == uid).is_some() {
        return Account::Own;
    }
    match lookup(|name, _| name == "nobody") {
        Some(Account::Other { uid, gid, .. }) if namespaces_work(uid, gid) => Account::Namespace { uid, gid },
        _ => Account::Own,
    }
}

/// The first folder on the way to `path` (itself included) that the user cannot enter.
fn bar(path: &Path, uid: u32, gid: u32) -> Option<PathBuf> {
    let mut folders: Vec<&Path> = path.ancestors().collect();
    folders.reverse();
    folders.into_iter().find(|folder| !may_enter(folder, uid, gid)).map(Path::to_owned)
}

fn may_enter(folder: &Path, uid: u32, gid: u32) -> bool {
    let Ok(meta) = fs::metadata(folder) else { return false };
    let bit = match (meta.uid() == uid, meta.gid() == gid) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    meta.mode() & bit != 0
}

/// Whether the user namespace that this process is in has the number: one that it has not can own no file here. Without such maps all are known.
fn known(map: &str, number: u32) -> bool {
    fs::read_to_string(map).map_or(true, |map| covers(&map, number))
}

/// Lines of a map: the first number inside, the first outside, how many.
fn covers(map: &str, number: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => number.checked_sub(first).is_some_and(|at| at < count),
            _ => false,
        }
    })
}

/// The first account of the passwd file that `fits`, by name and user id.
fn lookup(fits: impl Fn(&str, u32) -> bool) -> Option<Account> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (*fields.first()?, fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        fits(name, uid).then(|| Account::Other { name: name.to_owned(), uid, gid })
    })
}

fn unshare(uid: u32, gid: u32) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", &format!("--map-user={uid}"), &format!("--map-group={gid}"), "--"]);
    command
}

fn namespaces_work(uid: u32, gid: u32) -> bool {
    let status = unshare(uid, gid)
        .arg(OsStr::new("true"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_namespace_that_maps_root_alone_knows_no_other_user() {
        let (whole, root) = ("         0          0 4294967295\n", "         0      65534          1\n");
        assert!(covers(whole, 65534) && covers(root, 0) && !covers(root, 65534) && !covers("", 0));
    }
}
