//! The end of a connection whose client is still writing. A socket that is closed while bytes of its client are
//! unread is reset, and a reset takes the answer away from a client that has not read it yet: it sees a broken
//! pipe instead of a 413. So the answer is followed by the end of our side only, and what still comes is read and
//! dropped until the client closes its own; within bounds, for nobody knows whether it ever does.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Semaphore,
};

/// Connections that end so at once; what is beyond them is closed at once. Each is a descriptor and a buffer.
pub const LINGERING_MAX: usize = 512;
/// How long a client may take to read its answer.
const LINGER: Duration = Duration::from_secs(5);
/// Many HTTP libraries write a body to its end before they look for an answer.
const BYTES_MAX: usize = 32 * 1024 * 1024;
const BUFFER_BYTES: usize = 16 * 1024;

/// Counts the connections that end so.
#[derive(Debug)]
pub struct Lingering(Semaphore);

impl Default for Lingering {
    fn default() -> Self {
        Self(Semaphore::new(LINGERING_MAX))
    }
}

impl Lingering {
    /// Writes the `last` bytes, ends our side of the connection, and drops what comes until the client ends its own.
    pub async fn close(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, last: &[u8]) {
        let end = async {
            // Whatever fails, nothing is left to be done for this client.
            if stream.write_all(last).await.is_ok()
                && let Ok(_place) = self.0.try_acquire()
                && stream.shutdown().await.is_ok()
            {
                drop_rest(&mut stream).await;
            }
        };
        let _elapsed = tokio::time::timeout(LINGER, end).await.is_err();
    }
}

async fn drop_rest(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = BYTES_MAX;
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if read >= left {
            return;
        }
        left -= read;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn who_never_stops_writing_is_cut_off_after_so_many_bytes() {
        let (mut client, server) = pair().await;
        let writer = service_kit::spawn("writer", async move {
            let mut written = 0;
            while let Ok(count @ 1..) = client.write(&[0; 65_536]).await {
                written += count;
            }
            written
        });
        let since = Instant::now();
        Lingering::default().close(server, b"").await;
        assert!(since.elapsed() < LINGER, "{:?}", since.elapsed());
        let written = writer.await.unwrap();
        assert!((BYTES_MAX..2 * BYTES_MAX).contains(&written), "{written}");
    }

    #[tokio::test]
    async fn who_neither_writes_nor_closes_is_left_after_some_seconds() {
        let (_client, server) = pair().await;
        let since = Instant::now();
        Lingering::default().close(server, b"").await;
        assert!((LINGER..LINGER * 2).contains(&since.elapsed()), "{:?}", since.elapsed());
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_at_once() {
        let lingering = Lingering(Semaphore::new(0));
        let (mut client, server) = pair().await;
        lingering.close(server, b"last").await;
        let mut text = Vec::new();
        client.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"last");
    }
}
