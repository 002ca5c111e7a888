//! Capabilities: one is lent to `nft`, and in the end none is left.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// Runs `call` while programs that it executes may change the network of this namespace.
pub(super) fn with_network_admin<T>(call: impl FnOnce() -> T) -> io::Result<T> {
    let before = capabilities(None)?;
    let lent = CapabilitySets {
        inheritable: before.inheritable | CapabilitySet::NET_ADMIN,
        ..before
    };
    set_capabilities(None, lent)?;
    configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true)?;
    let result = call();
    clear_ambient_capability_set()?;
    set_capabilities(None, before)?;
    Ok(result)
}

/// Gives up every capability for ever, also those that executing a program would give.
pub(super) fn drop_all() -> io::Result<()> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    // The kernel says where its list ends.
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) if number > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(Into::into)
}
