//! A kernel that refuses system calls: seccomp(2).
//!
//! A filter belongs to the thread that installs it and to what that starts, and cannot be taken back:
//! each test that needs one runs in a process of its own, or installs it on a thread that ends.

#![allow(
    dead_code,
    reason = "each test binary that mounts this uses a part of it"
)]

use std::io;

/// Has the kernel answer `errno` to a system call of this thread from here on; if an argument is
/// given, by its position from 0 on and the lower half of its value, then only where it is that.
#[track_caller]
pub(crate) fn refuse(call: libc::c_long, argument: Option<(u32, u32)>, errno: i32) {
    let refused = answer(libc::SECCOMP_RET_ERRNO | errno as u32);
    let allowed = answer(libc::SECCOMP_RET_ALLOW);
    match argument {
        None => install(&[load(NUMBER), unless(call as u32, 1), refused, allowed]),
        Some((position, value)) => install(&[
            load(NUMBER),
            unless(call as u32, 3),
            load(ARGUMENTS + 8 * position),
            unless(value, 1),
            refused,
            allowed,
        ]),
    }
}

/// Where `seccomp_data` has the number of the call, and where its arguments begin, which are of 64
/// bits, the lower half first.
const NUMBER: u32 = 0;
const ARGUMENTS: u32 = 16;

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0)
}

/// Skips so many statements unless what was loaded is `value`.
fn unless(value: u32, skip: u8) -> libc::sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, skip)
}

fn answer(answer: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, answer, 0)
}

fn statement(code: u32, k: u32, jf: u8) -> libc::sock_filter {
    let code = code as u16;
    libc::sock_filter { code, jt: 0, jf, k }
}

/// Installs the filter. An unprivileged thread must renounce new privileges first.
#[track_caller]
fn install(filter: &[libc::sock_filter]) {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: PR_SET_NO_NEW_PRIVS takes integers only.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(set, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the kernel reads the program and its statements, which outlive the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(set, 0, "no filter: {}", io::Error::last_os_error());
}
