//! A getaddrinfo(3) that is loaded before the C library's: it knows two names of RFC 6761's `test`, and no other.
//!
//! Built by rustc alone, as a cdylib; hence without the `libc` crate.

use std::ffi::{CStr, c_char, c_int};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ptr;
use std::thread;

/// `struct addrinfo`, as glibc has it: getaddrinfo(3).
#[repr(C)]
pub struct AddrInfo {
    flags: c_int,
    family: c_int,
    kind: c_int,
    protocol: c_int,
    len: u32,
    address: *mut Address,
    name: *mut c_char,
    next: *mut AddrInfo,
}

/// `struct sockaddr_in` and `struct sockaddr_in6`: ip(7), ipv6(7).
#[repr(C)]
pub union Address {
    v4: AddressV4,
    v6: AddressV6,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct AddressV4 {
    family: u16,
    port: u16,
    address: [u8; 4],
    zero: [u8; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct AddressV6 {
    family: u16,
    port: u16,
    flow: u32,
    address: [u8; 16],
    scope: u32,
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const EAI_NONAME: c_int = -2;

/// # Safety
/// As that of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    host: *const c_char,
    _service: *const c_char,
    hints: *const AddrInfo,
    found: *mut *mut AddrInfo,
) -> c_int {
    // SAFETY: the caller gives a text that ends with NUL, and hints.
    let (host, kind) = unsafe { (CStr::from_ptr(host), (*hints).kind) };
    match host.to_str() {
        Ok("two.test") => {
            let v4 = AddressV4 {
                family: AF_INET,
                port: 0,
                address: Ipv4Addr::LOCALHOST.octets(),
                zero: [0; 8],
            };
            let v6 = AddressV6 {
                family: AF_INET6,
                port: 0,
                flow: 0,
                address: Ipv6Addr::LOCALHOST.octets(),
                scope: 0,
            };
            let second = info(kind, Address { v4 }, AF_INET, 16, ptr::null_mut());
            let first = info(kind, Address { v6 }, AF_INET6, 28, second);
            // SAFETY: the caller gives room for a pointer.
            unsafe { *found = first };
            0
        }
        Ok("silent.test") => loop {
            thread::park();
        },
        _ => EAI_NONAME,
    }
}

fn info(
    kind: c_int,
    address: Address,
    family: u16,
    len: u32,
    next: *mut AddrInfo,
) -> *mut AddrInfo {
    let address = Box::into_raw(Box::new(address));
    Box::into_raw(Box::new(AddrInfo {
        flags: 0,
        family: family.into(),
        kind,
        protocol: 6,
        len,
        address,
        name: ptr::null_mut(),
        next,
    }))
}

/// # Safety
/// As that of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn freeaddrinfo(mut info: *mut AddrInfo) {
    while !info.is_null() {
        // SAFETY: `info` made both boxes, and the caller frees a list once.
        let (first, _address) = unsafe {
            let first = Box::from_raw(info);
            let address = Box::from_raw(first.address);
            (first, address)
        };
        info = first.next;
    }
}
