//! A header where it lies among a frame's bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header at `offset` of `frame`, if that holds all of it. Its end is compared once: of a part of the frame's that begins
/// at `offset`, both its beginning and its length would be.
#[inline(always)]
pub fn at<T>(frame: &[u8], offset: usize) -> Option<&T>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    let end = offset.checked_add(size_of::<T>())?;
    T::ref_from_bytes(frame.get(offset..end)?).ok()
}

/// [`at`], to be changed.
#[inline(always)]
pub fn at_mut<T>(frame: &mut [u8], offset: usize) -> Option<&mut T>
where
    T: FromBytes + IntoBytes + KnownLayout + Unaligned,
{
    let end = offset.checked_add(size_of::<T>())?;
    T::mut_from_bytes(frame.get_mut(offset..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UdpHeader;

    #[test]
    fn a_header_is_where_all_of_it_is() {
        let mut frame = [0, 0, 0, 1, 0, 2, 0, 3, 0, 4];
        for offset in [0, 1, 2, 3, 10, 11, usize::MAX] {
            let is_there = offset <= 2;
            assert_eq!(at::<UdpHeader>(&frame, offset).is_some(), is_there);
            assert_eq!(at_mut::<UdpHeader>(&mut frame, offset).is_some(), is_there);
        }
        let udp = at::<UdpHeader>(&frame, 2).expect("it ends where the frame does");
        assert_eq!((udp.source.get(), udp.checksum.get()), (1, 4));
    }
}
