//! One socket pair between two of the processes: messages, with descriptors where needed,
//! and an end when the other side is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Longer than any message: a greeting with a certificate and the names of variables.
const MESSAGE_MAX: usize = 64 * 1024;
/// Descriptors in one message.
const DESCRIPTORS: usize = 4;

/// One end of the pair.
#[derive(Debug)]
pub struct Link(OwnedFd);

impl Link {
    /// Both ends; neither survives an exec.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a message, not empty, with descriptors.
    ///
    /// # Errors
    /// The other side is gone, or the message is too long.
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = sendmsg(
            &self.0,
            &[IoSlice::new(message)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        if sent == message.len() {
            return Ok(());
        }
        Err(io::ErrorKind::WriteZero.into())
    }

    /// The next message and its descriptors; `None` when the other side is gone.
    ///
    /// # Errors
    /// As the kernel says; a message that was cut.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut message = vec![0; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let flags = RecvFlags::CMSG_CLOEXEC;
            let slices = &mut [IoSliceMut::new(&mut message)];
            match recvmsg(&self.0, slices, &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                // Gone with something unread: gone all the same.
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        if received.flags.contains(rustix::net::ReturnFlags::TRUNC) {
            return Err(io::Error::other("a message was too long"));
        }
        message.truncate(received.bytes);
        let descriptors = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        Ok(Some((message, descriptors.flatten().collect())))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
