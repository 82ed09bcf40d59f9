//! What the kernel tells about XDP on an interface, without changing anything.

#![allow(unsafe_code)]

use std::io;

use libbpf_rs::{libbpf_sys, query::ProgInfoIter};

/// The steering program's name, by which it is told from another's.
const OUR_PROGRAM: &str = "steer";

/// From linux/netdev.h, `enum netdev_xdp_act`: the driver runs programs, redirects from them, and lets an AF_XDP
/// socket's packet memory be its own.
const ACT_BASIC: u64 = 1;
const ACT_REDIRECT: u64 = 2;
const ACT_XSK_ZEROCOPY: u64 = 8;

/// XDP on an interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct XdpState {
    /// The program that is attached.
    pub program: Option<AttachedProgram>,
    /// Whether the driver says that it runs programs and redirects; before Linux 6.3 none does.
    pub native: bool,
    /// Whether the driver says that it can do without copies; before Linux 6.3 none does.
    pub zero_copy: bool,
}

/// A program that is attached to an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachedProgram {
    /// The kernel's number for it.
    pub id: u32,
    /// Its name, as far as the caller may ask for it.
    pub name: Option<String>,
}

impl AttachedProgram {
    /// Whether it is the program of a running lbd.
    pub fn is_steering(&self) -> bool {
        self.name.as_deref() == Some(OUR_PROGRAM)
    }
}

impl XdpState {
    /// Of the interface with this index in the calling thread's network namespace.
    pub fn of(index: u32) -> io::Result<XdpState> {
        let mut told = libbpf_sys::bpf_xdp_query_opts {
            sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        let index = i32::try_from(index).map_err(io::Error::other)?;
        // SAFETY: `told` says how large it is and outlives the call.
        let answer = unsafe { libbpf_sys::bpf_xdp_query(index, 0, &mut told) };
        if answer < 0 {
            return Err(io::Error::from_raw_os_error(-answer));
        }
        let programs = [
            told.prog_id,
            told.drv_prog_id,
            told.skb_prog_id,
            told.hw_prog_id,
        ];
        let attached = programs.into_iter().find(|id| *id != 0);
        let can = |acts| told.feature_flags & acts == acts;
        Ok(XdpState {
            program: attached.map(|id| AttachedProgram {
                id,
                name: name_of(id),
            }),
            native: can(ACT_BASIC | ACT_REDIRECT),
            zero_copy: can(ACT_XSK_ZEROCOPY),
        })
    }
}

/// `None` also if this process may not look at programs.
fn name_of(id: u32) -> Option<String> {
    let program = ProgInfoIter::default().find(|program| program.id == id)?;
    Some(program.name.to_string_lossy().into_owned())
}
