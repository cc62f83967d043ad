//! The listener's port: chosen once, and the name of whoever holds it when it is taken.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

/// Ports tried for the first start: below those the kernel gives to outgoing connections, so that they are still free next time.
const CHOICE: std::ops::Range<u16> = 20_000..32_000;
const ATTEMPTS: u32 = 100;

/// Why no listener could be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Someone listens there already.
    #[error("{address} is in use{}", holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default())]
    InUse {
        /// The address.
        address: SocketAddr,
        /// `NAME (pid N)`, where it can be found.
        holder: Option<String>,
    },
    /// It cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl crate::explain::Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "AddressInUse",
            Self::Bind { .. } => "CannotListen",
        }
    }

    fn fix(&self) -> String {
        match self {
            Self::InUse { .. } => "Choose another with --listen ADDR:PORT, or end that process.".into(),
            Self::Bind { .. } => "Give --listen an address of this machine and a port above 1023.".into(),
        }
    }
}

/// Opens a listener on `address`.
///
/// # Errors
/// [`Error::InUse`] names the holder where `/proc` shows it.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => Error::InUse { address, holder: holder(address.port()) },
        _ => Error::Bind { address, source },
    })
}

/// Opens a listener on a free port of loopback.
///
/// # Errors
/// [`Error::Bind`] when a hundred were taken.
pub async fn choose() -> Result<TcpListener, Error> {
    for _ in 1..ATTEMPTS {
        let port = rand::random_range(CHOICE);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok(listener);
        }
    }
    listen((Ipv4Addr::LOCALHOST, rand::random_range(CHOICE)).into()).await
}

/// Who listens on a port of this machine: the socket's inode from the kernel's table, then the process that has it open.
fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port))?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == &*wanted);
        if descriptors.flatten().any(holds) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", command.trim()));
        }
    }
    None
}

fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let text = fs::read_to_string(table).ok()?;
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
        (local == port && *fields.get(3)? == LISTEN).then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_names_its_holder() {
        let first = choose().await.expect("a free port");
        let address = first.local_addr().expect("it is bound");
        let Err(Error::InUse { holder: Some(holder), .. }) = listen(address).await else {
            panic!("the port is taken, and by this process");
        };
        assert!(holder.contains(&format!("(pid {})", std::process::id())), "{holder}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_cannot_be_listened_on() {
        let error = listen("192.0.2.1:8443".parse().expect("an address")).await.expect_err("it is not ours");
        assert!(matches!(error, Error::Bind { .. }), "{error}");
    }
}
