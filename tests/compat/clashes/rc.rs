//! What takes the stream by value cannot take it out of an `Rc`.

use std::rc::Rc;

use tokio::io::AsyncReadExt as _;

use reveille::net::TcpStream;

pub fn head(stream: Box<TcpStream>) {
    drop(stream.take(5));
}
