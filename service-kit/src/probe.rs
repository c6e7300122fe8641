//! A probe for places that have no HTTP client: the images hold one program and no shell, so the program
//! itself asks its running twin on the admin port.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A process that works answers at once; whoever asks gives up after some seconds, too.
const DEADLINE: Duration = Duration::from_secs(2);

/// An answer is a status and a reason of a few lines.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Why a process is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nothing listens there, or the connection broke.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(SocketAddr, #[source] std::io::Error),
    #[error("{0} does not answer within {DEADLINE:?}")]
    Silent(SocketAddr),
    #[error("{0}")]
    Says(String),
}

/// Asks the process whose admin port listens here whether it is ready.
///
/// # Errors
/// [`NotReady`]: it is not, or does not say.
pub async fn ready(admin_listen: SocketAddr) -> Result<(), NotReady> {
    let address = reachable(admin_listen);
    let answer = tokio::time::timeout(DEADLINE, ask(address)).await;
    let answer = answer.map_err(|_elapsed| NotReady::Silent(address))?;
    let answer = answer.map_err(|error| NotReady::Unreachable(address, error))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) == Some("200") {
        Ok(())
    } else if body.trim().is_empty() {
        Err(NotReady::Says(head.lines().next().unwrap_or_default().to_owned()))
    } else {
        Err(NotReady::Says(body.trim().to_owned()))
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Who listens on every address is asked on the loopback one.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus::Registry;
    use tokio::net::TcpListener;

    use super::*;
    use crate::admin::{self, tests::Process};

    async fn process(ready: Result<(), String>) -> SocketAddr {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let process = Arc::new(Process { ready, registry: Registry::new() });
        drop(crate::spawn("admin", admin::serve(listener, process, std::future::pending())));
        address
    }

    #[tokio::test]
    async fn a_process_that_listens_on_every_address_is_asked_on_loopback() {
        ready(process(Ok(())).await).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_is_not_ready_says_why() {
        let address = process(Err("no partitions assigned yet".to_owned())).await;
        assert_eq!(ready(address).await.unwrap_err().to_string(), "no partitions assigned yet");
    }

    #[tokio::test]
    async fn nobody_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(ready(address).await, Err(NotReady::Unreachable(..))));
    }

    #[tokio::test]
    async fn a_process_that_hangs_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = ready(listener.local_addr().unwrap()).await.unwrap_err();
        assert!(matches!(error, NotReady::Silent(_)), "{error}");
    }
}
