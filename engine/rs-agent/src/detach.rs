//! Undoing roles.

use std::path::Path;

use lb_bpf::agent::Toa;

use crate::place::Place;
use crate::presence::Presence;
use crate::rights;
use lbrs::plan::Role;

/// Undoes `roles`, or all if none is named.
pub fn detach(directory: Option<&Path>, roles: &[Role]) -> anyhow::Result<()> {
    let roles = if roles.is_empty() { &Role::ALL } else { roles };
    rights::require(roles)?;
    let place = Place::find(directory)?;
    if !place.has_bpffs() {
        anstream::println!("nothing is attached");
        return Ok(());
    }
    let _held = place.lock()?;
    let mut some = false;
    for role in roles {
        let keeper = place.keeper(*role);
        if detach_role(&place, *role)? {
            some = true;
            anstream::println!("{role}: detached");
        }
        if let Some(process) = keeper {
            anstream::println!("{role}: process {process} looks after it still; end it as well");
        }
    }
    if !some {
        anstream::println!("nothing is attached");
    }
    Ok(())
}

/// Undoes one role; whether there was anything to undo. Who calls holds the lock.
pub fn detach_role(place: &Place, role: Role) -> anyhow::Result<bool> {
    let mut presence = Presence::open(place)?;
    let held = !presence.held_by(role).is_empty();
    // Nothing is to come in any more for an address that goes.
    let pins = place.pins(role);
    let pinned = pins.exist();
    if role == Role::Toa
        && pinned
        && let Err(error) = Toa::release_listeners(&pins)
    {
        anstream::eprintln!(
            "toa: the kernel keeps the SYNs of running servers for nothing: {error}"
        );
    }
    pins.remove()?;
    if held {
        presence.hold(role, &[])?;
    }
    place.tidy();
    Ok(held || pinned)
}
