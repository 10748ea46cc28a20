//! HTTP/2 as an attacker writes it: frame by frame, and no more correct than is wanted.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header list, each field as a literal that no table keeps.
pub(crate) fn header_block<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // HPACK's integer with a prefix of 7 bits.
            let mut rest = text.len();
            if rest < 127 {
                block.push(rest as u8);
            } else {
                block.push(127);
                rest -= 127;
                while rest >= 128 {
                    block.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                block.push(rest as u8);
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The head of a gRPC call.
pub(crate) fn call(path: &str) -> Vec<u8> {
    header_block([
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "victim"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

/// A connection that has begun as HTTP/2 does.
pub(crate) async fn begin(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream
}

/// Writes as much as the victim takes: it may stop to read, or hang up.
pub(crate) async fn pour(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    timeout(Duration::from_secs(5), stream.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Reads to the end; answers the error code of the last GOAWAY.
pub(crate) async fn goaway(stream: &mut TcpStream) -> Option<u32> {
    let (mut bytes, mut code) = (Vec::new(), None);
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    let mut rest = bytes.as_slice();
    while let Some((head, tail)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, tail)) = tail.split_at_checked(length) else { break };
        if head[3] == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        rest = tail;
    }
    code
}
