//! Messages with control data, by libc.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, c_void};

/// A control message: level, kind, and the first bytes of its data.
pub(crate) type Control = (c_int, c_int, Vec<u8>);

/// What to send, and where to. IPv4 addresses only.
pub(crate) struct Outbound {
    pub(crate) bytes: Vec<u8>,
    pub(crate) to: SocketAddr,
    pub(crate) control: Vec<Control>,
}

/// What came.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) bytes: Vec<u8>,
    pub(crate) flags: c_int,
    pub(crate) control: Vec<Control>,
}

/// Where the control data of one message lies: aligned as a cmsghdr, a multiple of 8 bytes each.
type Words = Vec<u64>;

/// Sends all of them by one sendmmsg(2), and returns how many it sent.
pub(crate) fn send_many(socket: &UdpSocket, messages: &[Outbound]) -> io::Result<usize> {
    let mut names: Vec<_> = messages.iter().map(|message| name(message.to)).collect();
    let mut controls: Vec<_> = messages.iter().map(|m| encode(&m.control)).collect();
    let bytes = messages.iter().map(|m| m.bytes.clone());
    let mut bytes: Vec<Vec<u8>> = bytes.collect();
    let mut iovecs: Vec<_> = bytes.iter_mut().map(|bytes| iovec(bytes)).collect();
    let mut headers: Vec<libc::mmsghdr> = (0..messages.len())
        .map(|nth| header(&mut names[nth], &mut iovecs[nth], &mut controls[nth]))
        .collect();
    // SAFETY: the headers point into vectors that outlive the call, with their lengths.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as u32,
            0,
        )
    };
    count(sent)
}

/// Receives by one recvmmsg(2) into room for `room` bytes each.
pub(crate) fn receive_many(
    socket: &UdpSocket,
    most: usize,
    room: usize,
) -> io::Result<Vec<Inbound>> {
    let mut unnamed = name(([0, 0, 0, 0], 0).into());
    let mut controls = vec![vec![0_u64; 32]; most];
    let mut bytes = vec![vec![0; room]; most];
    let mut iovecs: Vec<_> = bytes.iter_mut().map(|bytes| iovec(bytes)).collect();
    let mut headers: Vec<libc::mmsghdr> = (0..most)
        .map(|nth| {
            let mut header = header(&mut unnamed, &mut iovecs[nth], &mut controls[nth]);
            // Nothing here asks who sent it.
            (header.msg_hdr.msg_name, header.msg_hdr.msg_namelen) = (ptr::null_mut(), 0);
            header
        })
        .collect();
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the headers point into vectors that outlive the call, with their lengths; no timeout.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as u32,
            flags,
            ptr::null_mut(),
        )
    };
    let received = headers.iter().take(count(received)?);
    Ok(received
        .zip(bytes)
        .map(|(header, mut bytes)| {
            bytes.truncate(header.msg_len as usize);
            Inbound {
                bytes,
                flags: header.msg_hdr.msg_flags,
                control: decode(&header.msg_hdr),
            }
        })
        .collect())
}

fn count(outcome: c_int) -> io::Result<usize> {
    usize::try_from(outcome).map_err(|_| io::Error::last_os_error())
}

fn name(address: SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is not IPv4");
    };
    // SAFETY: all zeroes is a valid sockaddr_in.
    let mut name = unsafe { mem::zeroed::<libc::sockaddr_in>() };
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_port = address.port().to_be();
    name.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
    name
}

fn iovec(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

fn header(
    name: &mut libc::sockaddr_in,
    iovec: &mut libc::iovec,
    control: &mut [u64],
) -> libc::mmsghdr {
    // SAFETY: all zeroes is a valid mmsghdr.
    let mut header = unsafe { mem::zeroed::<libc::mmsghdr>() };
    header.msg_hdr.msg_name = ptr::from_mut(name).cast::<c_void>();
    header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    header.msg_hdr.msg_iov = iovec;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = control.as_mut_ptr().cast();
    header.msg_hdr.msg_controllen = (8 * control.len()) as _;
    header
}

/// cmsg(3): a length, a level, a kind, the data, and what is missing to a multiple of 8 bytes.
fn encode(control: &[Control]) -> Words {
    let mut bytes = Vec::new();
    for (level, kind, data) in control {
        bytes.extend((16 + data.len()).to_ne_bytes());
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let words = bytes.chunks(8);
    words
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
        .collect()
}

fn decode(header: &libc::msghdr) -> Vec<Control> {
    let mut control = Vec::new();
    // SAFETY: the kernel has filled the header in, and what it points to is alive.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole cmsghdr.
        let message = unsafe { next.read() };
        // SAFETY: as above.
        let data = unsafe { libc::CMSG_DATA(next) };
        let len = message.cmsg_len as usize - 16;
        // SAFETY: the kernel wrote as many bytes behind the cmsghdr, which has 16.
        let data = unsafe { std::slice::from_raw_parts(data, len) };
        control.push((message.cmsg_level, message.cmsg_type, data.to_vec()));
        // SAFETY: as for CMSG_FIRSTHDR.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    control
}
