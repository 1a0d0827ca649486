//! A DNS server that knows a few names, at one port of UDP and of TCP.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use reveille::net::{TcpListener, TcpStream, UdpSocket};
use reveille::spawn;

/// What was asked.
#[derive(Default)]
pub struct Asked {
    pub by_udp: Cell<usize>,
    pub by_tcp: Cell<usize>,
    /// Those that are open.
    pub connections: Cell<usize>,
    lost: RefCell<Vec<Name>>,
}

/// So many addresses has `many.test`, far more than an answer by UDP has room for.
pub const MANY: u8 = 200;

/// Starts it.
pub async fn serve() -> (SocketAddr, Rc<Asked>) {
    let asked = Rc::new(Asked::default());
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Some other socket may have that port of UDP.
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let at = udp.local_addr().unwrap();
    spawn(by_udp(udp, Rc::clone(&asked))).detach();
    spawn(by_tcp(tcp, Rc::clone(&asked))).detach();
    (at, asked)
}

async fn by_udp(socket: UdpSocket, asked: Rc<Asked>) {
    let mut buf = [0; 1500];
    loop {
        let (n, from) = socket.recv_from(&mut buf).await.unwrap();
        asked.by_udp.set(asked.by_udp.get() + 1);
        let Some(answer) = answer(&buf[..n], &asked) else {
            continue;
        };
        let mut bytes = answer.to_vec().unwrap();
        if bytes.len() > 512 {
            bytes = answer.truncate().to_vec().unwrap();
        }
        socket.send_to(&bytes, from).await.unwrap();
    }
}

async fn by_tcp(listener: TcpListener, asked: Rc<Asked>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        asked.connections.set(asked.connections.get() + 1);
        let asked = Rc::clone(&asked);
        spawn(async move {
            // Until the other end closes, or is gone.
            while let Ok(()) = one_by_tcp(&stream, &asked).await {}
            asked.connections.set(asked.connections.get() - 1);
        })
        .detach();
    }
}

/// Each message has its length before it: RFC 1035, 4.2.2.
async fn one_by_tcp(stream: &TcpStream, asked: &Asked) -> io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut question = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut question).await?;
    asked.by_tcp.set(asked.by_tcp.get() + 1);
    if let Some(answer) = answer(&question, asked) {
        let bytes = answer.to_vec().unwrap();
        stream
            .write_all(&(bytes.len() as u16).to_be_bytes())
            .await?;
        stream.write_all(&bytes).await?;
    }
    Ok(())
}

/// `None` is silence.
fn answer(question: &[u8], asked: &Asked) -> Option<Message> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let name = query.name().clone();
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.add_query(query.clone());
    let text = name.to_lowercase().to_string();
    let (label, _) = text.split_once('.').unwrap();
    let v4 = |last| RData::from(std::net::IpAddr::from(Ipv4Addr::new(192, 0, 2, last)));
    let v6 = |last| {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        RData::from(std::net::IpAddr::from(address))
    };
    let found = match (label, query.query_type()) {
        ("silent", _) => return None,
        ("lost", RecordType::A) if !asked.lost.borrow().contains(&name) => {
            asked.lost.borrow_mut().push(name);
            return None;
        }
        ("lost" | "four" | "both", RecordType::A) => vec![v4(1)],
        ("six" | "both", RecordType::AAAA) => vec![v6(1)],
        ("many", RecordType::A) => (0..MANY).map(v4).collect(),
        // The last label but one is the address: `n17.test`.
        (label, RecordType::A) if label.starts_with('n') => vec![v4(label[1..].parse().unwrap())],
        ("lost" | "four" | "six" | "both" | "many", _) => vec![],
        (label, _) if label.starts_with('n') => vec![],
        _ => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            vec![]
        }
    };
    answer.add_answers(
        found
            .into_iter()
            .map(|data| Record::from_rdata(name.clone(), 60, data)),
    );
    Some(answer)
}
