//! A handler that answers every message with the same 202, on a thread of its own: what sending to it costs is
//! the load tester's own floor.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::JoinSet,
};

use crate::{connection::READ_BYTES, wire};

/// As short as an answer that names a place can be.
const ANSWER: &[u8] =
    b"HTTP/1.1 202 Accepted\r\ncontent-length: 37\r\n\r\n{\"record\":{\"partition\":0,\"offset\":0}}";

/// Answers until the process ends; where.
pub fn start() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    thread::Builder::new().name("no-op".to_owned()).spawn(move || runtime.block_on(serve(listener)))?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _peer) = accepted?;
                connections.spawn(answer(socket));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn answer(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut received = Vec::with_capacity(READ_BYTES);
    loop {
        if let Some(length) = wire::request_length(&received).map_err(io::Error::other)? {
            received.drain(..length);
            socket.write_all(ANSWER).await?;
            continue;
        }
        received.reserve(READ_BYTES);
        if socket.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let frame = wire::frame(ANSWER).unwrap().unwrap();
        assert_eq!((frame.status, frame.end()), (202, ANSWER.len()));
        let body: serde_json::Value = serde_json::from_slice(frame.body(ANSWER)).unwrap();
        assert_eq!(body["record"]["offset"], 0);
    }
}
